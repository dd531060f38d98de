/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/param.h"

#define SIZE_DIGITS_MAX 20 /* RFC 1870 4 */

struct param {
	struct bytes name;
	unsigned of;
	bool (*parse)(struct bytes value, struct params *p);
};

static bool parse_size(struct bytes value, struct params *p)
{
	if (value.n == 0 || value.n > SIZE_DIGITS_MAX)
		return false;
	for (size_t i = 0; i < value.n; i++) {
		if (!ascii_is_digit(value.p[i]))
			return false;
	}
	if (bytes_to_u64(value, &p->size) < 0)
		p->size = UINT64_MAX;
	return true;
}

static bool parse_body(struct bytes value, struct params *p)
{
	p->body = bytes_ieq(value, BYTES_LIT("8BITMIME")) ? BODY_8BITMIME : BODY_7BIT;
	return p->body == BODY_8BITMIME || bytes_ieq(value, BYTES_LIT("7BIT"));
}

static const struct param table[PARAM_N] = {
#define PARAM(id, of, parse) [PARAM_##id] = {BYTES_LIT(#id), of, parse},
#include "smtp/param.def"
#undef PARAM
};

/* esmtp-keyword: begins with a letter or digit, then also hyphens. */
static bool is_keyword(struct bytes b)
{
	for (size_t i = 0; i < b.n; i++) {
		if (!ascii_is_alpha(b.p[i]) && !ascii_is_digit(b.p[i]) && !(i && b.p[i] == '-'))
			return false;
	}
	return b.n > 0;
}

/* esmtp-value: printable ASCII but "=" and space. */
static bool is_value(struct bytes b)
{
	for (size_t i = 0; i < b.n; i++) {
		if (b.p[i] <= ' ' || b.p[i] > '~' || b.p[i] == '=')
			return false;
	}
	return b.n > 0;
}

static enum param_verdict apply(struct bytes word, enum params_of of, struct params *p)
{
	ptrdiff_t eq = bytes_find(word, '=', 0);
	struct bytes name = eq < 0 ? word : bytes_first(word, (size_t)eq);
	struct bytes value = eq < 0 ? BYTES_NONE : bytes_skip(word, (size_t)eq + 1);

	if (!is_keyword(name) || (eq >= 0 && !is_value(value)))
		return PARAM_SYNTAX;
	for (unsigned i = 0; i < PARAM_N; i++) {
		if (!(table[i].of & of) || !bytes_ieq(name, table[i].name))
			continue;
		if (p->given & 1u << i || !table[i].parse(value, p))
			return PARAM_SYNTAX;
		p->given |= 1u << i;
		return PARAM_OK;
	}
	return PARAM_UNKNOWN;
}

enum param_verdict params_parse(struct bytes in, enum params_of of, struct params *params_r)
{
	*params_r = (struct params){0};
	while (in.n) {
		if (in.p[0] != ' ')
			return PARAM_SYNTAX;
		while (in.n && in.p[0] == ' ')
			in = bytes_skip(in, 1);
		ptrdiff_t end = bytes_find(in, ' ', 0);
		struct bytes word = end < 0 ? in : bytes_first(in, (size_t)end);
		if (word.n == 0)
			break;
		enum param_verdict v = apply(word, of, params_r);
		if (v != PARAM_OK)
			return v;
		in = bytes_skip(in, word.n);
	}
	return PARAM_OK;
}
