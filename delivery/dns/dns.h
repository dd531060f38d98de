/* SPDX-License-Identifier: BSD-3-Clause
 * DNS for polling cores: one helper thread owns one libunbound context (threaded mode) and speaks
 * ops over channels; answers are flat records.  Caching on the cores is the user's business
 * (delivery/dns/cache). */
#pragma once
#include "dataplane/base/netaddr.h"
#include "dataplane/base/rt/channel.h"

#define DNS_NAME_MAX    255
#define DNS_RECORDS_MAX 16 /* of one answer; chosen: more MX hosts or addresses are ignored */

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_MX = 15, DNS_AAAA = 28, DNS_TLSA = 52 };

enum dns_status {
	DNS_OK = 0,     /* records, at least one */
	DNS_NODATA = 1, /* the name exists without records of this type */
	DNS_NXDOMAIN = 2,
	DNS_FAIL = 3, /* SERVFAIL, timeout, bogus: try later */
};

struct dns_record {
	uint16_t preference; /* MX */
	/* MX: exchange, lower case, no final dot; 0 with preference 0: null MX.  CNAME: the target.
	 */
	uint8_t name_n;
	/* TLSA (RFC 6698 2.1).  The association data are the name_n octets of name; 0: longer than
	 * a digest or a small key ever is, so that nothing can be told from it. */
	uint8_t usage, selector, matching;
	char name[DNS_NAME_MAX + 1];
	struct ip_addr ip; /* A, AAAA */
};

struct dns_op {
	struct op op;                /* status: enum dns_status */
	uint8_t type;                /* in: enum dns_type */
	char name[DNS_NAME_MAX + 1]; /* in: NUL-terminated, no final dot */
	bool secure;                 /* out: DNSSEC-validated */
	uint32_t ttl;                /* out: seconds */
	uint32_t count;
	struct dns_record records[DNS_RECORDS_MAX]; /* out; MX by preference */
};

struct dns_conf {
	const char *const *servers; /* "ip" or "ip@port"; none: the system's resolv.conf */
	uint32_t server_count;
	const char *trust_anchor; /* file, NULL: nothing is validated */
	uint32_t timeout_ms;
};

struct dns_service;
/* Main thread.  Returns 0 or -errno with a message in error[] that names the culprit. */
int dns_service_create(const struct dns_conf *conf, struct dns_service **d_r, char *error,
	size_t error_n) WARN_UNUSED;
struct service *dns_service_server(struct dns_service *d);
int dns_service_start(struct dns_service *d) WARN_UNUSED;
void dns_service_stop(struct dns_service *d);
void dns_service_destroy(struct dns_service **d);
