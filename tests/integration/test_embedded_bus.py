from schemas.settings import Settings


def test_smoke(bus: Settings) -> None:
    from confluent_kafka.admin import AdminClient

    assert AdminClient(bus.kafka("admin")).list_topics(timeout=10).brokers


def test_container(container_bus: Settings) -> None:
    assert container_bus.bootstrap
