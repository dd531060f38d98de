/* SPDX-License-Identifier: BSD-3-Clause
 * ESMTP parameters of MAIL and RCPT (RFC 5321 4.1.2): " KEYWORD[=VALUE]" ...  Any thread, no
 * allocation. */
#pragma once
#include "smtp/envelope.h"

enum params_of { PARAMS_OF_MAIL = 1, PARAMS_OF_RCPT = 2 };

enum param_id {
#define PARAM(id, of, parse) PARAM_##id,
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
};

/* in: what follows the path, from the first space on; empty is fine. */
enum param_verdict params_parse(struct bytes in, enum params_of of, struct params *params_r);
