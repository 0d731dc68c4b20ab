-- With what a session begins that is to answer to the mount.
SELECT pg_catalog.set_config('rowfs.proof', s.proof, false) FROM rowfs.secret s;
