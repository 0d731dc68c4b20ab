SELECT project, change FROM sqitch.changes WHERE project IN ('rowfs', 'rowfs_partitioned')
