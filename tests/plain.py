"""A pytest plugin (`-p tests.plain`): modules are taken from their source even where compiled ones lie beside it."""

from bench.plain_source import take_plain_source

take_plain_source()
