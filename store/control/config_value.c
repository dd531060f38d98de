/* SPDX-License-Identifier: BSD-3-Clause
 * Values of the configuration: from text to C, and the ranges of config.def. */
#include "store/control/config_priv.h"
#include <errno.h>
#include "dataplane/base/log.h"

/* Everything a config points to, freed at once. */
struct config_block {
	struct config_block *next;
	alignas(max_align_t) uint8_t data[];
};
struct config_memory {
	struct config_block *blocks;
};

struct unit {
	const char *suffix;
	uint64_t factor;
};

/* Largest first: the formatter takes the first that divides. */
static const struct unit size_units[] = {
	{"T", 1ull << 40},
	{"G", 1ull << 30},
	{"M", 1ull << 20},
	{"k", 1ull << 10},
	{"K", 1ull << 10},
	{"",  1         },
};
static const struct unit duration_units[] = {
	{"d",  86400 * US_PER_SEC},
	{"h",  3600 * US_PER_SEC },
	{"m",  60 * US_PER_SEC   },
	{"s",  US_PER_SEC        },
	{"ms", US_PER_MS         },
};

static char problem_text[256];

struct config_memory *config_memory_create(void)
{
	return calloc(1, sizeof(struct config_memory));
}

void config_memory_destroy(struct config_memory **m)
{
	if (!*m)
		return;
	for (struct config_block *b = (*m)->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(*m);
	*m = NULL;
}

void *config_alloc(struct config_memory *m, size_t n)
{
	struct config_block *b = calloc(1, sizeof(*b) + n);

	if (!b)
		return NULL;
	b->next = m->blocks;
	m->blocks = b;
	return b->data;
}

static const char *problem(const char *text, const char *what)
{
	char shown[96];

	snprintf(problem_text, sizeof(problem_text), "\"%s\" %s",
		log_escape(bytes_str(text), shown, sizeof(shown)), what);
	return problem_text;
}

static int number_parse(struct bytes text, const struct unit *units, size_t n, uint64_t *out)
{
	size_t digits = 0;
	uint64_t v;

	while (digits < text.n && ascii_is_digit(text.p[digits]))
		digits++;
	if (bytes_to_u64(bytes_first(text, digits), &v) < 0)
		return -EINVAL;
	struct bytes suffix = bytes_skip(text, digits);
	for (size_t i = 0; i < n; i++) {
		if (!bytes_eq(suffix, bytes_str(units[i].suffix)))
			continue;
		return __builtin_mul_overflow(v, units[i].factor, out) ? -EINVAL : 0;
	}
	return -EINVAL;
}

int config_size_parse(struct bytes text, uint64_t *out)
{
	return number_parse(text, size_units, ARRAY_LEN(size_units), out);
}

int config_duration_parse(struct bytes text, uint64_t *out)
{
	if (bytes_eq(text, BYTES_LIT("0"))) {
		*out = 0;
		return 0;
	}
	return number_parse(text, duration_units, ARRAY_LEN(duration_units), out);
}

static const char *number_format(uint64_t v, const struct unit *units, size_t n, char text[32])
{
	for (size_t i = 0; i < n; i++) {
		if (v && v % units[i].factor == 0) {
			snprintf(text, 32, "%llu%s", (unsigned long long)(v / units[i].factor),
				units[i].suffix);
			return text;
		}
	}
	snprintf(text, 32, "%llu", (unsigned long long)v);
	return text;
}

const char *config_size_format(uint64_t v, char text[32])
{
	return number_format(v, size_units, ARRAY_LEN(size_units), text);
}

const char *config_duration_format(uint64_t v, char text[32])
{
	return number_format(v, duration_units, ARRAY_LEN(duration_units), text);
}

static const char *range(const struct config_field *f, const char *text, uint64_t v)
{
	char lo[32], hi[32], what[96];

	if (v >= f->min && v <= f->max)
		return NULL;
	if (f->type == CONFIG_UINT) {
		snprintf(lo, sizeof(lo), "%llu", (unsigned long long)f->min);
		snprintf(hi, sizeof(hi), "%llu", (unsigned long long)f->max);
	} else if (f->type == CONFIG_SIZE) {
		config_size_format(f->min, lo);
		config_size_format(f->max, hi);
	} else {
		config_duration_format(f->min, lo);
		config_duration_format(f->max, hi);
	}
	snprintf(what, sizeof(what), "is out of range (%s to %s)", lo, hi);
	return problem(text, what);
}

static const char *parse_number(const struct config_field *f, const char *text, uint64_t *out)
{
	struct bytes b = bytes_str(text);

	if (f->type == CONFIG_UINT && bytes_to_u64(b, out) < 0)
		return problem(text, "is not a number");
	if (f->type == CONFIG_SIZE && config_size_parse(b, out) < 0)
		return problem(text, "is not a size such as 64M or 10G");
	if (f->type != CONFIG_UINT && f->type != CONFIG_SIZE && config_duration_parse(b, out) < 0)
		return problem(text, "is not a duration such as 30s, 5m or 4h");
	return range(f, text, *out);
}

static const char *check_text(const struct config_field *f, const char *text)
{
	size_t n = strlen(text);

	if (n == 0)
		return NULL; /* config_check says what is required */
	if (n < f->min || n > f->max)
		return problem(text, "is too long");
	switch (f->type) {
	case CONFIG_HOST:
	case CONFIG_HOSTS:
		return config_host_is_valid(text) ? NULL
						  : problem(text, "is not a host or domain name");
	case CONFIG_PATTERN:
	case CONFIG_PATTERNS:
		return config_pattern_is_valid(text)
			       ? NULL
			       : problem(text, "is not a domain, .domain or *");
	case CONFIG_HOSTPORT:
		return config_hostport_is_valid(text) ? NULL
						      : problem(text, "is not a host or host:port");
	case CONFIG_NAME:
		return config_name_is_valid(text, "-_.")
			       ? NULL
			       : problem(text, "is not a name of letters, digits, - _ .");
	case CONFIG_DEVICE:
		return config_name_is_valid(text, "-_.:/@,=")
			       ? NULL
			       : problem(text, "is not an interface, socket path or PCI address");
	case CONFIG_CPUS:
		for (const char *p = text; *p; p++) {
			if (!ascii_is_digit((uint8_t)*p) && *p != '-' && *p != ',')
				return problem(text, "is not a list of CPUs such as 0 or 0-1");
		}
		return NULL;
	case CONFIG_PATH:
	case CONFIG_PATHS:
		return text[0] == '/' ? NULL : problem(text, "is not an absolute path");
	default:
		return NULL;
	}
}

/* Names of hosts and domains: in lower case and A-labels, as they are compared. */
static bool is_domain(enum config_type type)
{
	return type == CONFIG_HOST || type == CONFIG_HOSTS || type == CONFIG_HOSTPORT ||
	       type == CONFIG_PATTERN || type == CONFIG_PATTERNS;
}

static const char *parse_text(
	struct config_memory *m, const struct config_field *f, const char *text, const char **out)
{
	char canonical[CONFIG_DOMAIN_MAX + 1];
	bool named = is_domain(f->type) && config_domain_canonical(text, canonical);
	const char *wrong = check_text(f, named ? canonical : text);
	char *copy = wrong ? NULL : config_alloc(m, strlen(named ? canonical : text) + 1);

	if (wrong)
		return wrong;
	if (!copy)
		return "out of memory";
	*out = strcpy(copy, named ? canonical : text);
	return NULL;
}

static const char *parse_bool(const char *text, bool *out)
{
	bool yes = strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "on") == 0;
	bool no = strcmp(text, "false") == 0 || strcmp(text, "no") == 0 || strcmp(text, "off") == 0;

	*out = yes;
	return yes || no ? NULL : problem(text, "is not true or false");
}

/* Index of text among the names "a|b|c", or -1. */
static int enum_find(const char *names, const char *text)
{
	struct bytes left = bytes_str(names);

	for (int i = 0; left.n; i++) {
		ptrdiff_t bar = bytes_find(left, '|', 0);
		size_t n = bar < 0 ? left.n : (size_t)bar;
		if (bytes_eq(bytes_first(left, n), bytes_str(text)))
			return i;
		left = bytes_skip(left, n + 1);
	}
	return -1;
}

static const char *not_among(const struct config_field *f, const char *text)
{
	char what[96];

	snprintf(what, sizeof(what), "is not one of %s", f->unit);
	return problem(text, what);
}

static const char *parse_enum(const struct config_field *f, const char *text, uint32_t *out)
{
	int i = enum_find(f->unit, text);

	*out = (uint32_t)i;
	return i < 0 ? not_among(f, text) : NULL;
}

static const char *parse_mac(const char *text, struct config_mac *out)
{
	unsigned o[6];
	int n = 0;

	if (text[0] == '\0')
		return NULL;
	if (strlen(text) != 17 ||
		sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &o[0], &o[1], &o[2], &o[3], &o[4], &o[5],
			&n) != 6 ||
		n != 17)
		return problem(text, "is not a hardware address such as 02:00:00:00:00:01");
	if (o[0] & 1)
		return problem(text, "is a multicast address");
	for (int i = 0; i < 6; i++)
		out->octets[i] = (uint8_t)o[i];
	return NULL;
}

static const char *parse_ip(const char *text, struct config_ip *out)
{
	if (text[0] == '\0')
		return NULL;
	out->given = true;
	return ip_parse(bytes_str(text), &out->ip) < 0 ? problem(text, "is not an IP address")
						       : NULL;
}

/* An interface's address: the host's bits stay, unlike in a network. */
static const char *parse_interface(const char *text, struct ip_net *out)
{
	struct bytes b = bytes_str(text);
	ptrdiff_t slash = bytes_find(b, '/', 0);
	uint64_t prefix;

	if (slash < 0 || ip_parse(bytes_first(b, (size_t)slash), &out->ip) < 0)
		return problem(text, "is not an address with prefix length such as 198.18.0.1/24");
	unsigned base = ip_is_v4(&out->ip) ? 96 : 0;
	if (bytes_to_u64(bytes_skip(b, (size_t)slash + 1), &prefix) < 0 || prefix > 128 - base)
		return problem(text, "has a bad prefix length");
	out->prefix = (uint8_t)(prefix + base);
	return NULL;
}

static const char *parse_nets(struct config_memory *m, const struct config_field *f,
	const char *const *texts, unsigned n, struct config_nets *out)
{
	struct ip_net *v = config_alloc(m, n * sizeof(*v));

	for (unsigned i = 0; v && i < n; i++) {
		if (f->type == CONFIG_ADDRS) {
			const char *wrong = parse_interface(texts[i], &v[i]);
			if (wrong)
				return wrong;
		} else if (ip_net_parse(bytes_str(texts[i]), &v[i]) < 0) {
			return problem(texts[i], "is not a network such as 198.18.0.0/24");
		}
	}
	*out = (struct config_nets){.v = v, .n = n};
	return v ? NULL : "out of memory";
}

static bool server_is_valid(const char *text)
{
	struct bytes b = bytes_str(text);
	ptrdiff_t at = bytes_find(b, '@', 0);
	struct ip_addr ip;
	uint64_t port = 53;

	if (at >= 0 && (bytes_to_u64(bytes_skip(b, (size_t)at + 1), &port) < 0 || port == 0 ||
			       port > 65535))
		return false;
	return ip_parse(at < 0 ? b : bytes_first(b, (size_t)at), &ip) == 0;
}

static bool digest_is_valid(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64;
}

static const char *parse_strings(struct config_memory *m, const struct config_field *f,
	const char *const *texts, unsigned n, struct config_strings *out)
{
	struct config_field one = *f;
	const char **v = config_alloc(m, n * sizeof(*v));

	one.min = 1;
	one.max = 255;
	for (unsigned i = 0; v && i < n; i++) {
		if (texts[i][0] == '\0')
			return "has an empty entry";
		if (f->type == CONFIG_SERVERS && !server_is_valid(texts[i]))
			return problem(texts[i],
				"is not a resolver such as 198.18.0.53 or 198.18.0.53@5353");
		if (f->type == CONFIG_DIGESTS && !digest_is_valid(texts[i]))
			return problem(texts[i], "is not 64 hexadecimal digits");
		const char *wrong = parse_text(m, &one, texts[i], &v[i]);
		if (wrong)
			return wrong;
	}
	*out = (struct config_strings){.v = v, .n = n};
	return v ? NULL : "out of memory";
}

static const char *parse_durations(
	struct config_memory *m, const char *const *texts, unsigned n, struct config_numbers *out)
{
	static const struct config_field one = {
		.type = CONFIG_DURATION, .min = US_PER_SEC, .max = 7 * 86400 * US_PER_SEC};
	uint64_t *v = config_alloc(m, n * sizeof(*v));

	for (unsigned i = 0; v && i < n; i++) {
		const char *wrong = parse_number(&one, texts[i], &v[i]);
		if (wrong)
			return wrong;
	}
	*out = (struct config_numbers){.v = v, .n = n};
	return v ? NULL : "out of memory";
}

static const char *parse_roles(
	const struct config_field *f, const char *const *texts, unsigned n, uint32_t *out)
{
	*out = 0;
	for (unsigned i = 0; i < n; i++) {
		int role = enum_find(f->unit, texts[i]);
		if (role < 0)
			return not_among(f, texts[i]);
		*out |= 1u << role;
	}
	return NULL;
}

static const char *parse_list(struct config_memory *m, const struct config_field *f,
	const char *const *texts, unsigned n, void *out)
{
	switch (f->type) {
	case CONFIG_NETS:
	case CONFIG_ADDRS:
		return parse_nets(m, f, texts, n, out);
	case CONFIG_HOSTS:
	case CONFIG_PATTERNS:
	case CONFIG_SERVERS:
	case CONFIG_DIGESTS:
	case CONFIG_PATHS:
		return parse_strings(m, f, texts, n, out);
	case CONFIG_DURATIONS:
		return parse_durations(m, texts, n, out);
	default:
		return parse_roles(f, texts, n, out);
	}
}

const char *config_value_parse(struct config_memory *m, const struct config_field *f,
	const char *const *texts, unsigned n, void *out)
{
	if (f->type >= CONFIG_LISTS)
		return parse_list(m, f, texts, n, out);
	switch (f->type) {
	case CONFIG_UINT:
	case CONFIG_SIZE:
	case CONFIG_DURATION:
		return parse_number(f, texts[0], out);
	case CONFIG_BOOL:
		return parse_bool(texts[0], out);
	case CONFIG_ENUM:
		return parse_enum(f, texts[0], out);
	case CONFIG_MAC:
		return parse_mac(texts[0], out);
	case CONFIG_IP:
		return parse_ip(texts[0], out);
	default:
		return parse_text(m, f, texts[0], out);
	}
}
