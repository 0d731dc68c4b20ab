SELECT x.id, rowfs.differing(x.id) FROM rowfs.slice x WHERE x.id = ANY ($1::bigint[])
