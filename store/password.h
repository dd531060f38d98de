/* SPDX-License-Identifier: BSD-3-Clause
 * Password hashing on a helper thread: a check costs tens of milliseconds, so no polling core ever
 * runs one.  Bounded by the channels' credits; no credit = the login is answered "try later". */
#pragma once
#include "dataplane/base/rt/channel.h"
#include "store/store.h"

#define PASSWORD_MAX 512 /* octets; longer ones are refused before they come here */

enum password_kind { PASSWORD_VERIFY = 1, PASSWORD_HASH };

struct password_op {
	struct op op; /* VERIFY: status 0 right, -EACCES wrong; HASH: 0 or -errno */
	char password[PASSWORD_MAX + 1]; /* NUL-terminated; wiped by the helper before completion */
	char hash[PASSWORD_HASH_MAX]; /* VERIFY: in; empty string: unknown user, runs a dummy check
				       * of the same cost and fails.  HASH: out, yescrypt */
	struct scram_record scram;    /* HASH: out */
};

struct password_service;
/* Main thread.  NULL on want of memory. */
struct password_service *password_service_create(void);
struct service *password_service_server(struct password_service *p);
int password_service_start(struct password_service *p) WARN_UNUSED;
void password_service_stop(struct password_service *p);
void password_service_destroy(struct password_service **p);
