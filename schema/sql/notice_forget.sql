DELETE FROM rowfs.doubt d USING rowfs.notice n WHERE n.id = d.slice
