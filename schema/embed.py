"""Makes C of text files: embed.py OUT.c OUT.h; each of TEXTS becomes `const char embedded_NAME[]`, NUL-terminated, with its length
in `embedded_NAME_len`. embed.py --list: the files, for who builds."""
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

STATEMENTS = [
    "catalog_session",
    "differ_deployed",
    "differ_now",
    "differ_packs",
    "differ_readable",
    "ingest_chunks",
    "init_attracted",
    "init_attracts_again",
    "init_bytes",
    "init_deployed",
    "init_objects",
    "init_old",
    "init_renew",
    "init_rows",
    "init_sessions",
    "init_survey",
    "init_would",
    "notice_ask",
    "notice_ask_all",
    "notice_forget",
    "notice_noted",
    "notice_prove",
    "notice_readable",
    "notice_send",
    "notice_sources",
    "peers_question",
    "peers_survey",
    "version_there",
    "watch_ask",
    "watch_compare",
    "watch_differs",
    "watch_doubt",
    "health_routes",
    "watch_odd",
]  # sql/NAME.sql, as embedded_NAME_sql: without comments, and in one line, as the log shows it

# A text is a file; several layouts become one.
TEXTS = {
    "catalog_sql": ["sql/catalog.sql"],
    "fingerprint_sql": ["sql/fingerprint.sql"],
    "owners_sql": ["sql/owners.sql"],
    "default_layout": ["voice-assistant/layout.json", "orderbook/layout.json"],
    "core_plan": ["core/sqitch.plan"],
    **{f"{name}_sql": [f"sql/{name}.sql"] for name in STATEMENTS},
}


def c_literal(text):
    """TEXT as C string literals, one a line of it: readable in a debugger, and no byte can end a literal early."""
    plain = {b: chr(b) for b in range(0x20, 0x7F) if b not in b'"\\?'}
    lines = text.splitlines(keepends=True) or [b""]
    return "\n".join('\t"' + "".join(plain.get(b, f"\\{b:03o}") for b in line) + '"' for line in lines)


def merged(layouts):
    """One layout with the tables, routes and timers of all; what several have is there once."""
    whole = {}
    for layout in layouts:
        for key, value in layout.items():
            if isinstance(value, dict):
                whole.setdefault(key, {}).update(value)
            elif isinstance(value, list):
                whole.setdefault(key, []).extend(v for v in value if v not in whole.get(key, []))
            elif any(other.get(key) != value for other in layouts):
                sys.exit(f'embed.py: "{key}" holds for a whole layout, and layouts that become one differ in it')
            else:
                whole[key] = value
    return whole


def text_of(files):
    texts = [(HERE / name).read_bytes() for name in files]
    if Path(files[0]).stem in STATEMENTS:
        lines = (line.strip() for line in texts[0].decode().splitlines())
        return " ".join(line for line in lines if not line.startswith("--")).encode()
    if len(texts) == 1:
        return texts[0]
    return (json.dumps(merged([json.loads(t) for t in texts]), indent="\t", ensure_ascii=False) + "\n").encode()


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(name for files in TEXTS.values() for name in files))
        return
    source, header = sys.argv[1:]
    with open(source, "w", encoding="ascii") as c, open(header, "w", encoding="ascii") as h:
        h.write("/* Made by schema/embed.py. */\n#pragma once\n\n#include <stddef.h>\n\n")
        c.write('/* Made by schema/embed.py. */\n#include "schema/embedded.h"\n')
        for name, files in TEXTS.items():
            text = text_of(files)
            h.write(f"extern const char embedded_{name}[];\nextern const size_t embedded_{name}_len;\n")
            c.write(f"\nconst char embedded_{name}[] =\n{c_literal(text)};\nconst size_t embedded_{name}_len = {len(text)};\n")


main()
