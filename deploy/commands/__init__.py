"""The commands of `sallyport`, one a file: thin, each calls what does the work."""
