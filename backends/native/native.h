/*
 * native -- dsyncfs's own store as a location: "dsyncfs:PATH".
 */
#ifndef DSYNCFS_BACKENDS_NATIVE_H
#define DSYNCFS_BACKENDS_NATIVE_H

#include "sync/location.h"

extern const struct driver native_driver;

#endif
