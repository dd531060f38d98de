/* SPDX-License-Identifier: BSD-3-Clause
 * The directory in memory: address -> account, for smtp/directory.h.  Readers on any thread,
 * without locks; changes by main while the store opens, then by the writers after
 * their commits, one at a time (a lock of theirs alone).  Nothing is freed before
 * directory_destroy: a removed address leaves its octets, a grown table its predecessor, so a
 * reader never meets freed memory. */
#pragma once
#include "smtp/directory.h"
#include "smtp/envelope.h"

struct directory_table;

/* domains: lower case.  extension: the octet behind which a local part may have anything ('+'), 0:
 * none.  NULL on want of memory. */
struct directory_table *directory_create(
	const char *const *domains, uint32_t domain_count, char extension);
void directory_destroy(struct directory_table **d);
const struct directory *directory_public(const struct directory_table *d);

enum directory_state {
	DIRECTORY_STATE_GONE,
	DIRECTORY_STATE_OK,
	DIRECTORY_STATE_DISABLED,
	DIRECTORY_STATE_FULL
};

/* Changing thread.  Adds or changes one address (any case).  0, -EINVAL (length) or -ENOMEM. */
int directory_set(struct directory_table *d, struct bytes address, uint32_t account, uint16_t shard,
	enum directory_state state) WARN_UNUSED;
/* Changing thread.  A local domain beside those of directory_create. */
int directory_set_domain(struct directory_table *d, struct bytes domain, bool local) WARN_UNUSED;
/* Changing threads there are, each with a reserve of its own; before they start.  1 at first. */
void directory_set_writers(struct directory_table *d, unsigned writers);
/* Makes sure that the changing thread's next `count` (at most 2000) new addresses cannot fail for
 * want of memory. */
int directory_reserve(struct directory_table *d, uint32_t count) WARN_UNUSED;
/* Octets of memory held. */
uint64_t directory_bytes(const struct directory_table *d);

/* Lower-case copy of an address, the form of all keys; returns octets, 0: too long or empty. */
size_t directory_fold(struct bytes address, char out[ADDRESS_MAX]);
