/* SPDX-License-Identifier: BSD-3-Clause
 * ESMTP parameters of MAIL and RCPT (RFC 5321 4.1.2): " KEYWORD[=VALUE]" ...  Any thread, no
 * allocation. */
#pragma once
#include "smtp/envelope.h"

enum params_of {
	PARAMS_OF_MAIL = 1,
	PARAMS_OF_RCPT = 2,
	PARAMS_UTF8 = 4, /* with one of the others: SMTPUTF8 was said, values may be UTF-8 */
};

enum param_id {
#define PARAM(id, name, of, parse) PARAM_##id,
#include "smtp/param.def"
#undef PARAM
	PARAM_N
};

enum param_verdict {
	PARAM_OK,
	PARAM_SYNTAX,  /* 501: malformed, empty value, bad value, given twice */
	PARAM_UNKNOWN, /* 555: not one of ours */
};

struct params {
	uint32_t given; /* bit per enum param_id */
	uint64_t size;  /* SIZE=, octets; UINT64_MAX when it exceeds that */
	enum body_type body;
	enum dsn_ret ret;
	int8_t priority;           /* MT-PRIORITY= (RFC 6710) */
	uint8_t notify;            /* enum dsn_notify */
	bool utf8;                 /* PARAMS_UTF8 */
	struct bytes envid, orcpt; /* views into the input, as they were said */
};

static inline bool params_have(const struct params *p, enum param_id id)
{
	return p->given >> id & 1;
}

/* in: what follows the path, from the first space on; empty is fine. */
enum param_verdict params_parse(struct bytes in, unsigned of, struct params *params_r);
