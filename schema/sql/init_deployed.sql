SELECT project, change FROM rowfs.changes WHERE project LIKE 'rowfs\_%'
