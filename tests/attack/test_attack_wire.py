"""The way to the server: over TCP without TLS, anybody in between, or a server that is not the one that was meant, has everything."""
import os
import random
import shutil
import subprocess

import pytest

import kit
from mountkit import clean_env, rowfs_binary

WARNING = "is not encrypted"


@pytest.fixture(scope="module")
def by_tcp():
    """The conninfo of a server with TLS, by TCP at an address of its own, and its directory with the certificate, root.crt."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate, and is not installed")
    address = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
    pg = kit.Postgres(settings=[f"listen_addresses = '{address}'"])
    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=rowfs.test",
                        "-keyout", pg.data / "server.key", "-out", pg.data / "server.crt"], check=True, capture_output=True)
        shutil.copy(pg.data / "server.crt", pg.dir / "root.crt")
        for name in ("server.key", "server.crt"):
            if pg.user:
                shutil.chown(pg.data / name, pg.user)
            os.chmod(pg.data / name, 0o600)
        pg.admin("alter system set ssl = on")
        pg.admin("select pg_reload_conf()")
        yield f"host=rowfs.test hostaddr={address} dbname=postgres user=keeper gssencmode=disable", pg.dir
    finally:
        pg.destroy()


def check(conninfo):
    """What `rowfs check` says of a layout without routes, once it is connected by CONNINFO."""
    done = subprocess.run([str(rowfs_binary()), "check", "/dev/stdin", conninfo], input='{"routes": []}', capture_output=True, text=True,
                          timeout=60, check=False, env=clean_env())
    assert "routes" in done.stdout + done.stderr, done.stderr
    return done.stderr


def test_a_connection_in_the_clear_is_told_once(by_tcp):
    """By TCP without TLS: one warning for a process, however many connections it has. With TLS, and by the socket: none."""
    tcp, directory = by_tcp
    kit.until(lambda: kit.run("psql", "-X", "-d", f"{tcp} sslmode=require", "-c", "select 1", ok=False).returncode == 0, "the server has TLS")
    assert WARNING not in check(f"{tcp} sslmode=require")
    clear = check(f"{tcp} sslmode=disable")
    assert clear.count(WARNING) == 1 and "rowfs.test" in clear and "sslmode=verify-full" in clear
    assert WARNING not in check(f"{tcp} sslmode=verify-full sslrootcert={directory}/root.crt")
    assert WARNING not in check(f"host={directory} dbname=postgres user=keeper")
