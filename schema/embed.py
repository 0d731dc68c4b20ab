"""Makes C of text files: embed.py OUT.c OUT.h NAME=FILE ...; each becomes `const char embedded_NAME[]`, NUL-terminated,
with its length in `embedded_NAME_len`."""
import sys


def c_literal(text):
    """TEXT as C string literals, one a line of it: readable in a debugger, and no byte can end a literal early."""
    plain = {b: chr(b) for b in range(0x20, 0x7F) if b not in b'"\\?'}
    lines = text.splitlines(keepends=True) or [b""]
    return "\n".join('\t"' + "".join(plain.get(b, f"\\{b:03o}") for b in line) + '"' for line in lines)


def main():
    source, header, *pairs = sys.argv[1:]
    with open(source, "w", encoding="ascii") as c, open(header, "w", encoding="ascii") as h:
        h.write("/* Made by schema/embed.py. */\n#pragma once\n\n#include <stddef.h>\n\n")
        c.write('/* Made by schema/embed.py. */\n#include "schema/embedded.h"\n')
        for name, path in (pair.split("=", 1) for pair in pairs):
            with open(path, "rb") as f:
                text = f.read()
            h.write(f"extern const char embedded_{name}[];\nextern const size_t embedded_{name}_len;\n")
            c.write(f"\nconst char embedded_{name}[] =\n{c_literal(text)};\nconst size_t embedded_{name}_len = {len(text)};\n")


main()
