SELECT 'rowfs.chunk', 'the bytes of ' || n::text || ' ingest files' FROM
(SELECT pg_catalog.count(*) AS n FROM rowfs.file) f WHERE n > 0
