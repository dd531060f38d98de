/* SPDX-License-Identifier: BSD-3-Clause
 * Reading RFC 5322 header sections: fields, unfolding, addresses, dates, parameters.  Mail in the
 * world is often not what the RFC says, so these accept what can be understood and never fail
 * loudly.  Every result is bounded.  Any thread, no allocation. */
#pragma once
#include "dataplane/base/buf.h"

#define HEADER_NAME_MAX      76  /* octets kept of a field name worth comparing; chosen */
#define HEADER_PHRASE_MAX    512 /* octets of a display name; longer ones are cut; chosen */
#define HEADER_SPEC_MAX      256 /* octets of a local part or domain; longer ones are cut; chosen */
#define HEADER_COMMENT_DEPTH 16  /* nesting of comments; deeper text is skipped alike; chosen */
#define HEADER_PARAMS_MAX    64  /* parameters of one Content-Type; chosen */

/* One field; views into the section. */
struct header_field {
	struct bytes name;  /* without the colon and what stands between */
	struct bytes value; /* after the colon, still folded, without the last line end */
	struct bytes raw;   /* all of it, with the last line end */
};

/* The field at *at_r, which moves behind it.  False: the empty line or the end.  A line that is no
 * field (no colon) is skipped. */
bool header_next(struct bytes section, size_t *at_r, struct header_field *field_r);
/* First field of that name, in any case. */
bool header_find(struct bytes section, struct bytes name, struct bytes *value_r);
/* Append value without line ends and without white space around it; other controls become a space.
 * What does not fit is cut. */
void header_unfold(struct buf *out, struct bytes value);

/* ---- addresses: RFC 5322 3.4, with the obsolete forms ---- */

enum header_address_kind { HEADER_MAILBOX, HEADER_GROUP, HEADER_GROUP_END };

struct header_address {
	enum header_address_kind kind;
	bool has_name, has_domain;
	struct buf name;  /* display name or group name, unquoted; else the comment behind the
			     address */
	struct buf route; /* obsolete source route "@a,@b" */
	struct buf local, domain;
	uint8_t memory[HEADER_PHRASE_MAX + 4 * HEADER_SPEC_MAX];
};

struct header_addresses {
	struct bytes in; /* a field's value */
	size_t at;
	bool in_group;
};

static inline struct header_addresses header_addresses_of(struct bytes value)
{
	return (struct header_addresses){.in = value};
}
/* The next address; false: no more.  An unended group gets its HEADER_GROUP_END. */
bool header_address_next(struct header_addresses *list, struct header_address *address_r);

/* ---- dates: RFC 5322 3.3 and 4.3 ---- */

struct header_date {
	int64_t seconds;  /* since 1970, UTC */
	int16_t zone_min; /* offset it was written with */
	int32_t day;      /* days since 1970 in that zone: what SENTSINCE compares */
};
int header_date_parse(struct bytes value, struct header_date *date_r) WARN_UNUSED;
/* Days since 1970-01-01 of a date of the Gregorian calendar.  month 1..12. */
int64_t header_days(int64_t year, unsigned month, unsigned day);
/* The reverse. */
void header_civil(int64_t days, int64_t *year_r, unsigned *month_r, unsigned *day_r);

/* ---- structured values: RFC 2045 5.1, RFC 2183 ---- */

struct header_params {
	struct bytes in;
	size_t at;
	unsigned count;
};

/* "type/subtype" or a lone token (Content-Disposition: sub stays empty); views into value.
 * Returns where the parameters begin. */
struct header_params header_type_parse(
	struct bytes value, struct bytes *type_r, struct bytes *sub_r);
/* The next parameter: name is a view, value is appended to out, unquoted.  False: no more. */
bool header_param_next(struct header_params *p, struct bytes *name_r, struct buf *out);
/* One parameter by name, appended to out.  False: it is not there. */
bool header_param_find(struct header_params p, struct bytes name, struct buf *out);
