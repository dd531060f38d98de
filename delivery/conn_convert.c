/* SPDX-License-Identifier: BSD-3-Clause
 * Content on its way to a host that takes less than the message has: through smtp/downgrade, a
 * buffer at a time. */
#include "delivery/conn_priv.h"
#include "smtp/downgrade.h"

#define CONVERTED    4096 /* octets made at a time */
#define SOURCE_SLICE 4096

struct conversion {
	struct downgrade downgrade;
	struct bytes in; /* of the content, valid until it is asked for more */
	bool in_end, done;
	uint32_t n, at;
	uint8_t out[CONVERTED];
};
static_assert(CONVERTED >= 2 * DOWNGRADE_ROOM, "it goes on");

bool conn_convert_begin(struct conn *c, enum body_type to, bool utf8)
{
	if (!c->conversion)
		c->conversion = malloc(sizeof(*c->conversion));
	if (!c->conversion)
		return false;
	memset(c->conversion, 0, offsetof(struct conversion, out));
	downgrade_init(&c->conversion->downgrade, to, utf8);
	return true;
}

void conn_convert_end(struct conn *c)
{
	free(c->conversion);
	c->conversion = NULL;
}

/* Fill the buffer.  False: the content has no octets now, or is at fault. */
static bool conversion_fill(struct conn *c, struct conversion *v)
{
	struct buf out;

	buf_init(&out, v->out, sizeof(v->out));
	v->at = v->n = 0;
	while (buf_space(&out) >= DOWNGRADE_ROOM && !v->done) {
		if (v->in.n == 0 && !v->in_end)
			v->in = content_next(&c->content, SOURCE_SLICE, &v->in_end);
		if (v->in.n == 0 && !v->in_end)
			break;
		v->in = bytes_skip(v->in, downgrade_feed(&v->downgrade, v->in, &out));
		c->fault = v->downgrade.fault;
		if (c->fault)
			return false;
		if (v->in.n == 0 && v->in_end && buf_space(&out) >= DOWNGRADE_ROOM) {
			downgrade_end(&v->downgrade, &out);
			v->done = true;
		}
	}
	v->n = (uint32_t)out.n;
	return v->n > 0 || v->done;
}

struct bytes conn_convert_next(struct conn *c, size_t want, bool *end_r)
{
	struct conversion *v = c->conversion;

	*end_r = false;
	if (c->fault || (v->at == v->n && !v->done && !conversion_fill(c, v)))
		return BYTES_NONE;
	struct bytes some = bytes_first(bytes_make(v->out + v->at, v->n - v->at), want);
	v->at += (uint32_t)some.n;
	*end_r = v->done && v->at == v->n;
	return some;
}

void conn_convert_refuse(struct conn *c)
{
	static const struct {
		const char *status, *why;
	} faults[] = {
		[DOWNGRADE_HEADER] = {"5.6.7",
				      "the message has 8-bit headers and the next hop takes none"},
		[DOWNGRADE_MARKED] = {"5.6.3",
				      "the message has 8-bit content that cannot be converted"   },
		[DOWNGRADE_TOO_DEEP] = {"5.6.3",
				      "the message has too many nested parts to be converted"    },
	};

	smtp_client_content_refused(&c->client, faults[c->fault].status, faults[c->fault].why);
}
