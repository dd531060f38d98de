/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/param.h"
#include "smtp/utf8.h"

#define SIZE_DIGITS_MAX 20  /* RFC 1870 4 */
#define AUTH_VALUE_MAX  500 /* octets; RFC 4954 5 */

struct param {
	struct bytes name;
	unsigned of;
	bool (*parse)(struct bytes value, struct params *p);
};

static bool parse_size(struct bytes value, struct params *p)
{
	if (value.n == 0 || value.n > SIZE_DIGITS_MAX)
		return false;
	if (bytes_to_u64(value, &p->size) == 0)
		return true;
	for (size_t i = 0; i < value.n; i++) {
		if (!ascii_is_digit(value.p[i]))
			return false;
	}
	p->size = UINT64_MAX; /* too large a number is one, too */
	return true;
}

static bool parse_body(struct bytes value, struct params *p)
{
	static const struct bytes names[] = {
		[BODY_7BIT] = BYTES_LIT("7BIT"),
		[BODY_8BITMIME] = BYTES_LIT("8BITMIME"),
		[BODY_BINARYMIME] = BYTES_LIT("BINARYMIME"),
	};

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (!bytes_ieq(value, names[i]))
			continue;
		p->body = (enum body_type)i;
		return true;
	}
	return false;
}

static bool parse_flag(struct bytes value, struct params *p)
{
	(void)p;
	return value.n == 0;
}

/* RFC 6710 4.1: a digit with or without "-", and no "-0". */
static bool parse_priority(struct bytes value, struct params *p)
{
	bool negative = value.n == 2 && value.p[0] == '-';
	struct bytes digit = bytes_skip(value, negative);

	if (digit.n != 1 || !ascii_is_digit(digit.p[0]) || (negative && digit.p[0] == '0'))
		return false;
	p->priority = (int8_t)(digit.p[0] - '0');
	if (negative)
		p->priority = (int8_t)-p->priority;
	return true;
}

static bool parse_ret(struct bytes value, struct params *p)
{
	return dsn_ret_parse(value, &p->ret);
}

static bool parse_envid(struct bytes value, struct params *p)
{
	p->envid = value;
	return dsn_envid_valid(value);
}

/* RFC 4954 5: who submitted the message first.  Believed of nobody, so only its form counts. */
static bool parse_auth(struct bytes value, struct params *p)
{
	uint8_t memory[AUTH_VALUE_MAX];
	struct buf text;

	(void)p;
	buf_init(&text, memory, sizeof(memory));
	return value.n <= AUTH_VALUE_MAX &&
	       (bytes_eq(value, BYTES_LIT("<>")) || dsn_xtext_decode(&text, value) == 0);
}

static bool parse_notify(struct bytes value, struct params *p)
{
	return dsn_notify_parse(value, &p->notify);
}

static bool parse_orcpt(struct bytes value, struct params *p)
{
	p->orcpt = value;
	return dsn_orcpt_valid(value, p->utf8);
}

static const struct param table[PARAM_N] = {
#define PARAM(id, name, of, parse) [PARAM_##id] = {BYTES_LIT(name), of, parse},
#include "smtp/param.def"
#undef PARAM
};

/* Octets of the esmtp-keyword that b begins with: a letter or digit, then also hyphens. */
static size_t keyword_octets(struct bytes b)
{
	size_t n = 0;

	while (n < b.n &&
		(ascii_is_alpha(b.p[n]) || ascii_is_digit(b.p[n]) || (n && b.p[n] == '-')))
		n++;
	return n;
}

/* esmtp-value: printable ASCII but "=" and space; with SMTPUTF8 also UTF-8 (RFC 6531 3.3). */
static bool is_value(struct bytes b, bool utf8)
{
	bool beyond = false;

	for (size_t i = 0; i < b.n; i++) {
		if (b.p[i] <= ' ' || b.p[i] == 0x7f || b.p[i] == '=')
			return false;
		beyond |= b.p[i] >= 0x80;
	}
	return b.n > 0 && (!beyond || (utf8 && utf8_valid(b)));
}

static enum param_verdict apply(struct bytes word, unsigned of, struct params *p)
{
	struct bytes name = bytes_first(word, keyword_octets(word));
	struct bytes value = bytes_skip(word, name.n + 1);
	bool has_value = name.n < word.n;

	if (name.n == 0 || (has_value && (word.p[name.n] != '=' || !is_value(value, p->utf8))))
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

enum param_verdict params_parse(struct bytes in, unsigned of, struct params *params_r)
{
	*params_r = (struct params){.utf8 = of & PARAMS_UTF8};
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
