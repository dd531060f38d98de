/* SPDX-License-Identifier: BSD-3-Clause
 * SASL mechanisms of the server's side (RFC 4422), and the messages of PLAIN (RFC 4616) and LOGIN
 * (a convention that never became an RFC; old clients speak nothing else).  SCRAM is in
 * smtp/scram.h. Any thread, no allocation. */
#pragma once
#include "dataplane/base/bytes.h"

enum sasl_mechanism { SASL_NONE, SASL_PLAIN, SASL_LOGIN, SASL_SCRAM, SASL_SCRAM_PLUS };

/* By name, in either case; SASL_NONE: not known. */
enum sasl_mechanism sasl_mechanism_find(struct bytes name);
/* The message of PLAIN, decoded, into views of it.  An authorization identity may be given if it is
 * the user.  Returns 0 or -EINVAL. */
int sasl_plain_parse(
	struct bytes message, struct bytes *user_r, struct bytes *password_r) WARN_UNUSED;
