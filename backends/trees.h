/*
 * trees -- the directory trees that this process has open, for the sandbox:
 * they are all that a closed process can still reach.
 */
#ifndef DSYNCFS_BACKENDS_TREES_H
#define DSYNCFS_BACKENDS_TREES_H

#include <stdbool.h>

/* fd: of the tree's directory, lent until trees_remove.  -ENOMEM. */
int trees_add(int fd);
/* The directory itself goes, too, when it is closed. */
void trees_temporary(int fd);
void trees_remove(int fd);
/* Ends with the first answer of fn that is not 0, and gives it. */
int trees_each(int (*fn)(void *arg, int fd, bool temporary), void *arg);

#endif
