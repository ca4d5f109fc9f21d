"""The verbs of ``razar``, one module each: ``add_arguments(parser)`` and ``run(arguments) -> int``."""
