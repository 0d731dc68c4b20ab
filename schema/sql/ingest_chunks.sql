-- With the policies of rowfs.chunk, max(at) would look at all chunks before the byte.
SELECT at::text, len::text, CASE WHEN zlib THEN 't' ELSE 'f' END, data FROM rowfs.chunk AS c WHERE
file = $1::bigint
AND at >= (SELECT b.at FROM rowfs.chunk AS b WHERE b.file = $1::bigint AND b.at <= $2::bigint
ORDER BY b.at DESC LIMIT 1)
AND at < $2::bigint + 262144 AND at + len > $2::bigint ORDER BY c.at
