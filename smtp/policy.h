/* SPDX-License-Identifier: BSD-3-Clause
 * Accept policy of the SMTP server: plain facts made from the configuration, asked by the session.
 * An immutable snapshot; sessions keep theirs until the next transaction. */
#pragma once
#include "dataplane/base/netaddr.h"
#include "smtp/directory.h"

/* What a listener is for.  Immutable. */
struct smtp_service {
	uint16_t port;
	bool lmtp;          /* RFC 2033 instead of SMTP */
	bool submission;    /* users send here: after AUTH, or from a listed network */
	bool tls;           /* STARTTLS is offered */
	bool implicit_tls;  /* TLS comes first instead (RFC 8314) */
	bool auth;          /* AUTH is offered */
	bool auth_in_clear; /* ... without TLS, too */
	/* Where clients are tested: */
	uint16_t withheld;       /* enum reply_ehlo, EHLO_NO_... */
	const char *soft, *hard; /* the words of REPLY_SOFT (4xx) and REPLY_HARD (5xx): code and
				  * text, below REPLY_WORDS_MAX */
};

struct smtp_policy {
	char hostname[256]; /* our name in the banner, EHLO and Received; NUL-terminated */
	const struct directory *directory;
	const struct ip_net *relay_from; /* networks that may relay to anywhere */
	uint32_t relay_from_count;
	/* SHA-256 of client certificates, hexadecimal in either case: these relay, too */
	const char *const *relay_certificates;
	uint32_t relay_certificate_count;
	const struct ip_net *proxies; /* peers that begin with a PROXY header, and must */
	uint32_t proxy_count;
	const struct ip_net *xclient_from; /* peers that may say XCLIENT */
	uint32_t xclient_from_count;
	const char *const *relay_domains; /* lower case; accepted from anybody, relayed onward */
	uint32_t relay_domain_count;
	uint64_t message_bytes_max;    /* SIZE */
	uint32_t header_bytes_max;     /* of the header alone; 0: no limit of its own */
	uint32_t recipients_max;       /* per message, <= MESSAGE_RCPT_MAX */
	uint32_t session_messages_max; /* per session; 0: no limit */
	uint32_t session_domains_max;  /* of recipients, per session, <= SMTP_DOMAINS_MAX; 0: the
					  same */
	uint32_t errors_max;           /* 5xx to commands before 421 */
	uint32_t received_max;         /* Received fields before 554 5.4.6 */
	uint32_t inflight_max;         /* messages per session awaiting their commit, 1..16 */
	bool strict_helo;              /* HELO of strangers: a name with a dot, and not ours */
	/* Of one peer on one core, unless it is in relay_from; 0: no limit.  Rates: a minute. */
	uint32_t peer_connections, peer_connection_rate, peer_message_rate, peer_rcpt_rate;
	uint32_t peer_error_rate, peer_handshake_rate;
	uint64_t greet_delay_us; /* strangers wait for the greeting; who speaks before is cut off */
	uint64_t command_timeout_us; /* RFC 5321 4.5.3.2.7 */
	uint64_t data_timeout_us;    /* RFC 5321 4.5.3.2.5 */
};
