import com.sun.management.OperatingSystemMXBean;
import java.io.FileInputStream;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams: how many facts there were of each person, in a store in memory with a changelog.
 *
 * <p>The facts are partitioned by person already, though their keys are longer: so the Processor API counts them where
 * they are, where the DSL's groupBy would write them all to a topic between.
 */
public final class KeyedCount {
    private static final AtomicLong SEEN = new AtomicLong();
    private static volatile long started;
    private static volatile long cpu;
    private static long warm;
    private static long records;
    private static final CountDownLatch ALL_CAME = new CountDownLatch(1);

    private static final class Counter implements Processor<byte[], byte[], Void, Void> {
        private KeyValueStore<Bytes, Long> counts;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            counts = context.getStateStore("counts");
            // The last commit is not left to the interval: that would be the clock's, not the engine's.
            context.schedule(Duration.ofMillis(5), PunctuationType.WALL_CLOCK_TIME, now -> {
                if (ALL_CAME.getCount() == 0) {
                    context.commit();
                }
            });
        }

        @Override
        public void process(Record<byte[], byte[]> fact) {
            long seen = SEEN.getAndIncrement();
            if (seen == warm) {
                started = System.nanoTime();
                cpu = cpuNanoseconds();
            }
            Bytes person = personOf(fact.key());
            Long before = counts.get(person);
            counts.put(person, before == null ? 1L : before + 1L);
            if (seen + 1 == records) {
                ALL_CAME.countDown();
            }
        }
    }

    private static Bytes personOf(byte[] key) {
        int end = 0;
        while (end < key.length && key[end] != '/') {
            end++;
        }
        byte[] person = new byte[end];
        System.arraycopy(key, 0, person, 0, end);
        return Bytes.wrap(person);
    }

    /** The one argument: a file of properties, those of Kafka Streams and, under "bench.", our own. */
    public static void main(String[] arguments) throws Exception {
        Properties given = new Properties();
        try (FileInputStream file = new FileInputStream(arguments[0])) {
            given.load(file);
        }
        String input = given.getProperty("bench.input");
        String[] ends = given.getProperty("bench.ends").split(",");
        warm = Long.parseLong(given.getProperty("bench.warm"));
        for (String end : ends) {
            records += Long.parseLong(end);
        }
        StoreBuilder<KeyValueStore<Bytes, Long>> counts =
                Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("counts"), Serdes.Bytes(), Serdes.Long())
                        .withLoggingEnabled(Map.of());
        boolean caching = Boolean.parseBoolean(given.getProperty("bench.caching"));
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(caching ? counts.withCachingEnabled() : counts.withCachingDisabled());
        builder.stream(input, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray())).process(Counter::new, "counts");
        KafkaStreams streams = new KafkaStreams(builder.build(), given);
        streams.start();
        ALL_CAME.await();
        try (Admin admin = Admin.create(given)) {
            while (!allCommitted(admin, given.getProperty("application.id"), input, ends)) {
                Thread.sleep(2);
            }
        }
        System.out.printf(
                Locale.ROOT,
                "{\"seconds\": %f, \"cpu_seconds\": %f, \"records\": %d, \"seen\": %d}%n",
                (System.nanoTime() - started) / 1e9,
                (cpuNanoseconds() - cpu) / 1e9,
                records - warm,
                SEEN.get());
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static long cpuNanoseconds() {
        return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getProcessCpuTime();
    }

    private static boolean allCommitted(Admin admin, String group, String input, String[] ends) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> committed =
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        for (int number = 0; number < ends.length; number++) {
            OffsetAndMetadata offset = committed.get(new TopicPartition(input, number));
            if (offset == null || offset.offset() < Long.parseLong(ends[number])) {
                return false;
            }
        }
        return true;
    }
}
