/* `rowfs import`: copies a tree of files into a mounted rowfs. It is a client of the mount like any
 * other program: it opens, writes and closes files, and reads /.rowfs. */
#pragma once

/* Runs `rowfs import`; ARGV[0] is "import". Returns the exit status: 0 all is in (and equal), 1
 * something is not, 2 a mistake in the arguments. */
int import_main(int argc, char **argv);
