/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/hop.h"

#define PORT_SMTPS 465 /* RFC 8314 */
#define PORT_LMTP  24  /* RFC 2033 5: not 25; 24 is for private mail systems */

const char *tls_level_name(enum tls_level level)
{
	static const char *const names[] = {
		[TLS_LEVEL_NONE] = "none",
		[TLS_LEVEL_MAY] = "may",
		[TLS_LEVEL_ENCRYPT] = "encrypt",
		[TLS_LEVEL_DANE] = "dane",
		[TLS_LEVEL_VERIFY] = "verify",
	};

	return names[level];
}

/* ".example.org" is the end of "a.example.org". */
static bool is_below(struct bytes suffix, struct bytes name)
{
	return name.n > suffix.n && bytes_eq(bytes_skip(name, name.n - suffix.n), suffix);
}

const struct hop *hop_find(const struct hop *hops, uint32_t count, struct bytes domain)
{
	const struct hop *best = NULL;
	size_t best_n = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct bytes row = bytes_str(hops[i].domain);
		if (bytes_eq(row, domain))
			return &hops[i];
		bool all = bytes_eq(row, BYTES_LIT("*"));
		if (!all && (row.n == 0 || row.p[0] != '.' || !is_below(row, domain)))
			continue;
		if (!best || row.n > best_n) {
			best = &hops[i];
			best_n = row.n;
		}
	}
	return best;
}

bool hop_allows(const struct hop *h, struct bytes host)
{
	for (uint32_t i = 0; i < h->name_count; i++) {
		struct bytes name = bytes_str(h->names[i]);
		if (bytes_eq(name, host) || (name.n && name.p[0] == '.' && is_below(name, host)))
			return true;
	}
	return h->name_count == 0;
}

uint16_t hop_port(const struct hop *h, uint16_t smtp_port)
{
	if (h->transport == HOP_SMTPS)
		return PORT_SMTPS;
	return h->transport == HOP_LMTP ? PORT_LMTP : smtp_port;
}
