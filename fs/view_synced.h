/*
 * view_synced -- what writing scratch/synced and reading it again have in
 * common; view_synced.c has the format.
 */
#ifndef DSYNCFS_FS_VIEW_SYNCED_H
#define DSYNCFS_FS_VIEW_SYNCED_H

#include "fs/view_internal.h"

#define SYNCED_NAME "scratch/synced"
#define SYNCED_SIZE (8u << 20)
#define SYNCED_MAGIC 0x314e5953u /* "SYN1" */
#define SYNCED_HEAD 56u
#define SYNCED_SUM 8u

enum record_kind {
	RECORD_FILE = 1,
	RECORD_DROP,
	RECORD_SAVED_CUR,
	RECORD_SAVED_NEW
};

/* A real file in tmp, durably. */
int synced_to_disk(struct view *v, struct scratch *s);

#endif
