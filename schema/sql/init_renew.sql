SELECT rowfs.replace(o.pack, o.identity) FROM rowfs.object o WHERE o.pack = $1
AND o.type = 'function' AND o.differs IS NOT NULL
