/* SPDX-License-Identifier: BSD-3-Clause
 * XCLIENT: a listed proxy that speaks SMTP itself says for whom it does.  The session begins anew
 * with that peer: its greeting is the answer. */
#include "smtp/relay.h"
#include "smtp/session_priv.h"

#define VALUE_MAX 255 /* octets of a decoded value; chosen: a host name fits */

struct xclient {
	struct ip_addr addr;
	bool has_addr;
	uint32_t account; /* LOGIN; 0: not given */
};

static bool is_unavailable(struct bytes value)
{
	return bytes_ieq(value, BYTES_LIT("[UNAVAILABLE]")) ||
	       bytes_ieq(value, BYTES_LIT("[TEMPUNAVAIL]"));
}

/* Of a client whose address is not known nothing may follow from the proxy's own: it is nobody, ::.
 */
static bool parse_addr(struct smtp_session *s, struct bytes value, struct xclient *x)
{
	(void)s;
	x->has_addr = is_unavailable(value);
	x->addr = (struct ip_addr){0};
	if (x->has_addr)
		return true;
	if (bytes_istarts(value, BYTES_LIT("IPV6:")))
		value = bytes_skip(value, 5);
	x->has_addr = ip_parse(value, &x->addr) == 0;
	return x->has_addr;
}

static bool parse_login(struct smtp_session *s, struct bytes value, struct xclient *x)
{
	struct directory_entry entry;
	const struct directory *d = s->policy->directory;

	if (is_unavailable(value))
		return true;
	if (!d || d->lookup(d, value, &entry) != DIRECTORY_OK)
		return false;
	x->account = entry.account;
	return true;
}

static bool parse_ignored(struct smtp_session *s, struct bytes value, struct xclient *x)
{
	(void)s, (void)x;
	return value.n > 0;
}

static const struct {
	struct bytes name;
	bool (*parse)(struct smtp_session *s, struct bytes value, struct xclient *x);
} attributes[] = {
	{BYTES_LIT("ADDR"),     parse_addr   },
	{BYTES_LIT("LOGIN"),    parse_login  },
 /* Names are not believed, ports not needed, and the client says HELO once more. */
	{BYTES_LIT("NAME"),     parse_ignored},
	{BYTES_LIT("PORT"),     parse_ignored},
	{BYTES_LIT("PROTO"),    parse_ignored},
	{BYTES_LIT("HELO"),     parse_ignored},
	{BYTES_LIT("DESTADDR"), parse_ignored},
	{BYTES_LIT("DESTPORT"), parse_ignored},
};

static bool parse_attribute(struct smtp_session *s, struct bytes word, struct xclient *x)
{
	ptrdiff_t eq = bytes_find(word, '=', 0);
	uint8_t memory[VALUE_MAX];
	struct buf value;

	buf_init(&value, memory, sizeof(memory));
	if (eq < 0 || dsn_xtext_decode(&value, bytes_skip(word, (size_t)eq + 1)) < 0 ||
		value.overflow)
		return false;
	for (unsigned i = 0; i < ARRAY_LEN(attributes); i++) {
		if (bytes_ieq(bytes_first(word, (size_t)eq), attributes[i].name))
			return attributes[i].parse(s, buf_view(&value), x);
	}
	return false;
}

static bool parse_all(struct smtp_session *s, struct bytes in, struct xclient *x)
{
	while (in.n) {
		ptrdiff_t space = bytes_find(in, ' ', 0);
		struct bytes word = space < 0 ? in : bytes_first(in, (size_t)space);
		if (!parse_attribute(s, word, x))
			return false;
		in = bytes_skip(in, word.n + 1);
	}
	return true;
}

void session_xclient(struct smtp_session *s, struct bytes argument)
{
	struct xclient x = {0};

	if (!s->may_xclient) {
		session_refuse(s, REPLY_NOT_OFFERED);
		return;
	}
	s->sync = true;
	if (argument.n == 0 || !parse_all(s, argument, &x)) {
		session_refuse(s, REPLY_BAD_PARAM);
		return;
	}
	if (x.has_addr) {
		s->peer = x.addr;
		if (s->ops->peer)
			s->ops->peer(s->ctx, &x.addr);
	}
	s->account = x.account;
	s->certified = false; /* the certificate was the proxy's */
	s->esmtp = false;
	s->helo_n = 0;
	session_set_state(s, SMTP_CONNECT);
	session_decide(s, STAGE_CONNECT, s->ops->connect ? s->ops->connect(s->ctx) : REPLY_OK);
}
