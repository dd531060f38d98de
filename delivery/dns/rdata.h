/* SPDX-License-Identifier: BSD-3-Clause
 * Record data as a resolver hands it out (RFC 1035 3.3, uncompressed), made into flat records.
 * The octets come from strangers: everything is checked.  Any thread, no allocation. */
#pragma once
#include "dataplane/base/bytes.h"
#include "delivery/dns/dns.h"

/* Decode one uncompressed name that fills `in` from its first octet on.  Lower case, no final dot,
 * NUL-terminated; the root gives "".  Labels may hold letters, digits, '-' and '_' only: nothing
 * else names a mail host.  Returns octets used of `in`, or -EINVAL. */
int dns_name_decode(struct bytes in, char name_r[DNS_NAME_MAX + 1], uint8_t *n_r) WARN_UNUSED;

/* Decode one record of type.  Returns 0, or -EINVAL: malformed (to be left out). */
int dns_rdata_decode(enum dns_type type, struct bytes rdata, struct dns_record *r) WARN_UNUSED;

/* Put MX records in order of preference, equal ones in random order (RFC 5321 5.1), and drop what
 * RFC 7505 3 says to ignore: empty names beside others.  Returns how many are left. */
uint32_t dns_mx_order(struct dns_record *records, uint32_t n, uint64_t random);

/* A name that may be asked for: 1..253 octets, labels of 1..63 of the characters above, no final
 * dot. */
bool dns_name_valid(struct bytes name);
