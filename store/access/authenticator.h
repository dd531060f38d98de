/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/authenticator.h over the store's logins.  OWNER: the core of its access. */
#pragma once
#include "smtp/authenticator.h"
#include "store/access/access.h"

#define AUTHENTICATOR_LOGINS 64 /* chosen: at once on one core; each takes the helper's 60 ms */

struct store_authenticator;
/* Main thread, before the core runs.  a: readers and passwords suffice.  secret:
 * store_secret(), copied.  NULL on want of memory. */
struct store_authenticator *store_authenticator_create(struct access *a, const uint8_t secret[16]);
struct authenticator *store_authenticator_public(struct store_authenticator *s);
/* After the core has stopped. */
void store_authenticator_destroy(struct store_authenticator **s);
