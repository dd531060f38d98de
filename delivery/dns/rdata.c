/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/dns/rdata.h"
#include <errno.h>

#define LABEL_MAX     63  /* RFC 1035 2.3.4 */
#define NAME_TEXT_MAX 253 /* 255 octets on the wire: one length octet in front, the root behind */

static bool name_octet_valid(uint8_t c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

/* Appends one label in lower case; false: it has an octet that no host name has. */
static bool label_put(struct bytes label, char *name, size_t *n)
{
	for (size_t i = 0; i < label.n; i++) {
		if (!name_octet_valid(label.p[i]))
			return false;
		name[(*n)++] = (char)ascii_lower(label.p[i]);
	}
	return true;
}

int dns_name_decode(struct bytes in, char name_r[DNS_NAME_MAX + 1], uint8_t *n_r)
{
	size_t at = 0, n = 0;

	for (;;) {
		if (at >= in.n)
			return -EINVAL;
		size_t label = in.p[at++];
		if (label == 0)
			break;
		if (label > LABEL_MAX || label > in.n - at)
			return -EINVAL;
		if (n + (n > 0) + label > NAME_TEXT_MAX)
			return -EINVAL;
		if (n > 0)
			name_r[n++] = '.';
		if (!label_put(bytes_make(in.p + at, label), name_r, &n))
			return -EINVAL;
		at += label;
	}
	name_r[n] = '\0';
	*n_r = (uint8_t)n;
	return (int)at;
}

static int mx_decode(struct bytes rdata, struct dns_record *r)
{
	if (rdata.n < 3)
		return -EINVAL;
	r->preference = (uint16_t)(rdata.p[0] << 8 | rdata.p[1]);
	int used = dns_name_decode(bytes_skip(rdata, 2), r->name, &r->name_n);
	return used >= 0 && (size_t)used == rdata.n - 2 ? 0 : -EINVAL;
}

static int tlsa_decode(struct bytes rdata, struct dns_record *r)
{
	if (rdata.n < 4)
		return -EINVAL;
	r->usage = rdata.p[0];
	r->selector = rdata.p[1];
	r->matching = rdata.p[2];
	rdata = bytes_skip(rdata, 3);
	r->name_n = rdata.n <= DNS_NAME_MAX ? (uint8_t)rdata.n : 0;
	memcpy(r->name, rdata.p, r->name_n);
	return 0;
}

int dns_rdata_decode(enum dns_type type, struct bytes rdata, struct dns_record *r)
{
	uint32_t v4;

	*r = (struct dns_record){0};
	switch (type) {
	case DNS_CNAME:
		return dns_name_decode(rdata, r->name, &r->name_n) == (int)rdata.n && r->name_n
			       ? 0
			       : -EINVAL;
	case DNS_MX:
		return mx_decode(rdata, r);
	case DNS_TLSA:
		return tlsa_decode(rdata, r);
	case DNS_A:
		if (rdata.n != sizeof(v4))
			return -EINVAL;
		memcpy(&v4, rdata.p, sizeof(v4));
		r->ip = ip_from_v4(v4);
		return 0;
	case DNS_AAAA:
		if (rdata.n != sizeof(r->ip.octets))
			return -EINVAL;
		memcpy(r->ip.octets, rdata.p, sizeof(r->ip.octets));
		/* A mapped address in an AAAA record would pass for IPv4. */
		return ip_is_v4(&r->ip) ? -EINVAL : 0;
	}
	return -EINVAL;
}

/* splitmix64: spreads one random number over the records; no secret depends on it. */
static uint64_t mix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void record_swap(struct dns_record *a, struct dns_record *b)
{
	struct dns_record t = *a;

	*a = *b;
	*b = t;
}

uint32_t dns_mx_order(struct dns_record *records, uint32_t n, uint64_t random)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n && n > 1; i++) {
		if (records[i].name_n > 0)
			records[kept++] = records[i];
	}
	if (n > 1)
		n = kept > 0 ? kept : 1;
	for (uint32_t i = n; i > 1; i--)
		record_swap(&records[i - 1], &records[mix(&random) % i]);
	/* Insertion sort: stable, so the shuffle decides among equals; n <= DNS_RECORDS_MAX. */
	for (uint32_t i = 1; i < n; i++) {
		for (uint32_t k = i; k > 0 && records[k].preference < records[k - 1].preference;
			k--)
			record_swap(&records[k], &records[k - 1]);
	}
	return n;
}

bool dns_name_valid(struct bytes name)
{
	size_t label = 0;

	if (name.n == 0 || name.n > NAME_TEXT_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!name_octet_valid(name.p[i]) || ++label > LABEL_MAX) {
			return false;
		}
	}
	return label > 0;
}
