/* SPDX-License-Identifier: BSD-3-Clause
 * How destinations are reached: the rows of the routing table.  Made by main from the
 * configuration, then constant; any thread reads. */
#pragma once
#include "dataplane/base/bytes.h"
#include "smtp/sasl_client.h"

enum hop_transport {
	HOP_SMTP,
	HOP_SMTPS, /* TLS from the first octet on (RFC 8314) */
	HOP_LMTP,  /* RFC 2033 */
};

/* What must be known of the peer before it gets mail; each level asks for more. */
enum tls_level {
	TLS_LEVEL_NONE,    /* no TLS */
	TLS_LEVEL_MAY,     /* TLS when it can be had, whoever answers (RFC 7435) */
	TLS_LEVEL_ENCRYPT, /* no mail without TLS */
	TLS_LEVEL_DANE,    /* what TLSA records ask for (RFC 7672), `may` where there are none */
	TLS_LEVEL_VERIFY,  /* a certificate for the host's name, by an issuer that is trusted */
};

struct hop {
	const char *domain; /* "example.org"; ".example.org": what is below it; "*": all others */
	const char *host;   /* "host", "host:port" or "ip:port"; NULL: by MX */
	uint8_t transport;  /* enum hop_transport */
	uint8_t level;      /* enum tls_level */
	/* Mail servers that may be the domain's, names and ".suffix"es; none: all.  Without DNSSEC
	 * it is this that makes TLS_LEVEL_VERIFY worth anything for a domain with MX records. */
	const char *const *names;
	uint32_t name_count;
	const struct sasl_login *login; /* AUTH; NULL: none */
};

/* "may" */
const char *tls_level_name(enum tls_level level);
/* The row for a domain (lower case): its own, else that of the longest suffix, else "*", else NULL.
 * count: at most a few thousand, looked at one after the other; it happens once per look-up. */
const struct hop *hop_find(const struct hop *hops, uint32_t count, struct bytes domain);
/* May this host (lower case) have the mail? */
bool hop_allows(const struct hop *h, struct bytes host);
/* The port when neither the row nor the configuration names one. */
uint16_t hop_port(const struct hop *h, uint16_t smtp_port);
