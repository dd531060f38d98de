/* SPDX-License-Identifier: BSD-3-Clause
 * What is sent: strings, names, flags, dates.  OWNER: one core's thread. */
#include "smtp/header.h"
#include "store/imap/imap_priv.h"

static bool quotable(struct bytes b)
{
	for (size_t i = 0; i < b.n; i++) {
		if (b.p[i] == 0 || b.p[i] == '\r' || b.p[i] == '\n' || b.p[i] >= 127)
			return false;
	}
	return b.n <= 1024;
}

void imap_put_string(struct access_out *o, struct bytes b)
{
	size_t from = 0;

	if (!quotable(b)) {
		access_out_printf(o, "{%zu}\r\n", b.n);
		access_out_put(o, b);
		return;
	}
	access_out_str(o, "\"");
	for (size_t i = 0; i < b.n; i++) {
		if (b.p[i] != '"' && b.p[i] != '\\')
			continue;
		access_out_put(o, bytes_make(b.p + from, i - from));
		access_out_str(o, "\\");
		from = i;
	}
	access_out_put(o, bytes_skip(b, from));
	access_out_str(o, "\"");
}

void imap_put_nstring(struct access_out *o, struct bytes b, bool there)
{
	if (there)
		imap_put_string(o, b);
	else
		access_out_str(o, "NIL");
}

void imap_put_name(struct access_out *o, struct bytes utf8)
{
	uint8_t text[4 * MBOX_NAME_MAX];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	imap_name_encode(utf8, &b);
	imap_put_string(o, buf_view(&b));
}

struct bytes imap_keyword(const struct imap_session *s, uint32_t i)
{
	struct bytes names = bytes_make(s->keywords->data, s->keywords->n);

	for (;; i--) {
		ptrdiff_t end = bytes_find(names, 0, 0);
		size_t n = end < 0 ? names.n : (size_t)end;
		if (i == 0)
			return bytes_first(names, n);
		names = bytes_skip(names, n + 1);
	}
}

void imap_put_flags(struct imap_session *s, const struct imap_row *r)
{
	struct access_out *o = imap_out(s);
	const char *space = "";

	access_out_str(o, "FLAGS (");
	for (unsigned i = 0; i < IMAP_FLAG_N; i++) {
		if (r->flags & 1u << i) {
			access_out_str(o, space);
			access_out_str(o, imap_flag_names[i]);
			space = " ";
		}
	}
	for (uint32_t i = 0; i < s->keyword_count; i++) {
		if (r->keywords & 1u << i) {
			access_out_str(o, space);
			access_out_put(o, imap_keyword(s, i));
			space = " ";
		}
	}
	access_out_str(o, ")");
}

void imap_put_internaldate(struct access_out *o, uint64_t ms, int16_t zone_min)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int64_t local = (int64_t)(ms / 1000) + zone_min * 60;
	int64_t days = local / 86400 - (local % 86400 < 0);
	int64_t second = local - days * 86400;
	int zone = zone_min < 0 ? -zone_min : zone_min;
	int64_t year;
	unsigned month, day;

	header_civil(days, &year, &month, &day);
	access_out_printf(o, "\"%2u-%.3s-%04lld %02u:%02u:%02u %c%02d%02d\"", day,
		names + 3 * (month - 1), (long long)year, (unsigned)(second / 3600),
		(unsigned)(second / 60 % 60), (unsigned)(second % 60), zone_min < 0 ? '-' : '+',
		zone / 60, zone % 60);
}
