"""Makes a manual page of its template: make.py TEMPLATE VERSION DATADIR [ROWFS]; the list of options is what
`ROWFS --help=man` prints."""
import subprocess
import sys

template, version, datadir, *rowfs = sys.argv[1:]
with open(template, encoding="utf-8") as f:
    page = f.read()
page = page.replace("@VERSION@", version).replace("@DATADIR@", datadir)
if rowfs:
    options = subprocess.run([rowfs[0], "--help=man"], check=True, capture_output=True, text=True).stdout
    page = page.replace("@OPTIONS@\n", options)
sys.stdout.write(page)
