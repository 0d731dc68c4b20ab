SELECT o.pack || ': ' || pg_catalog.count(*) FILTER (WHERE o.made) || ' objects would be made, ' ||
pg_catalog.count(*) FILTER (WHERE NOT o.made AND o.differs IS NULL) ||
' are there as the pack needs them' || coalesce(E'\n' || pg_catalog.string_agg('    ' || o.type ||
' ' ||
o.identity || ' ' || pg_catalog.array_to_string(o.differs, '; ') ||
coalesce('; so this does not hold: ' ||
o.promise, ''), E'\n' ORDER BY o.n) FILTER (WHERE o.differs IS NOT NULL), '')
FROM rowfs.object o GROUP BY o.pack ORDER BY o.pack
