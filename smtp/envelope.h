/* SPDX-License-Identifier: BSD-3-Clause
 * One accepted message on its way: envelope, header edits, body.  Made by the core that receives
 * it, handed to the store writer, then to a delivery worker, by pointer over rings; who holds a
 * reference may read it, nobody changes it after message_submit (except the reference count). */
#pragma once
#include <stdatomic.h>
#include "dataplane/base/netaddr.h"
#include "dataplane/base/rt/channel.h"
#include "dataplane/base/rt/chunk.h"
#include "smtp/dsn.h"

#define PATH_MAX_OCTETS    256  /* RFC 5321 4.5.3.1.3, with the brackets */
#define LOCAL_PART_MAX     64   /* RFC 5321 4.5.3.1.1 */
#define DOMAIN_MAX         255  /* RFC 5321 4.5.3.1.2 */
#define ADDRESS_MAX        320  /* local part, @, domain */
#define MESSAGE_RCPT_MAX   1000 /* chosen; RFC 5321 4.5.3.1.8 asks for 100 at least */
#define LMTP_RCPT_MAX      128  /* chosen; at least 100 by the same */
#define LMTP_RCPT_WORDS    (LMTP_RCPT_MAX / 64)
#define MESSAGE_PREFIX_MAX 2560         /* octets of prepended fields; chosen */
#define STREAM_ABOVE       (256 * 1024) /* octets from which a body goes to the writer in parts */

enum body_type { BODY_7BIT, BODY_8BITMIME, BODY_BINARYMIME };

/* Where a recipient's mail goes, decided at RCPT. */
enum rcpt_route { RCPT_LOCAL, RCPT_REMOTE };

/* One recipient.  The address is canonical: local part unquoted where quoting is not needed, domain
 * in lower case; it lies in the message's `text` chain-of-one arena. */
struct rcpt {
	uint32_t text_offset; /* into message.text */
	uint16_t n;           /* octets of the address */
	uint16_t domain_at;   /* offset of the domain within the address */
	uint8_t route;        /* enum rcpt_route */
	uint8_t notify;       /* enum dsn_notify; 0: default */
	uint16_t orcpt_n;     /* octets of ORCPT, which stands behind the address; 0: not given */
	uint32_t account;     /* RCPT_LOCAL: account number in the directory */
};

/* RFC 6710 4: values of MT-PRIORITY. */
#define MESSAGE_PRIORITY_MIN (-9)
#define MESSAGE_PRIORITY_MAX 9

/* All variable-size memory of a message is chunks, so that limits.body_memory covers it. */
struct message {
	atomic_uint refs;
	/* written before submit, then constant */
	uint64_t id;          /* queue id and blob id */
	uint64_t received_ms; /* wall clock */
	struct ip_addr peer;
	uint8_t body_type;  /* enum body_type */
	uint8_t smtputf8;   /* asked for by the sender: RFC 6531 */
	uint8_t bare;       /* internal: a DSN or APPEND, not from a peer */
	uint8_t ret;        /* enum dsn_ret */
	uint8_t requiretls; /* RFC 8689: only over verified TLS, to who does the same */
	int8_t priority;    /* RFC 6710: MESSAGE_PRIORITY_MIN .. MAX, 0 when nobody said one */
	uint8_t each;       /* LMTP: each recipient is answered by itself, none bounces */
	uint16_t envid_n;   /* octets of ENVID as it was said; 0: not given */
	uint32_t rcpt_count;
	uint32_t sender_n; /* 0: <> */
	const uint8_t
		*sender; /* in text: the reverse-path without brackets, <= ADDRESS_MAX octets */
	const uint8_t *envid; /* in text */
	struct chain rcpts;   /* struct rcpt records, RCPT_PER_CHUNK in each chunk */
	struct chain text;    /* sender, ENVID, addresses; none straddles two chunks */
	/* Header edits made by us.  Only prepending so far: what stands before the body's first
	 * octet. The first `prefix_local` octets (Return-Path) are seen in mailboxes only, not
	 * relayed. */
	struct chain prefix;
	uint32_t prefix_local;
	/* The message content as received, transparency undone, octet for octet. */
	struct chain body; /* what is in memory: all of it, or the tail behind `streamed` */
	uint64_t streamed; /* octets already given to the writer as parts */
	uint32_t streamed_chunks;
	uint32_t body_crc;     /* CRC-32C over the whole body */
	uint32_t header_bytes; /* octets of body up to and including the empty line; = size if none
				*/
};

#define RCPT_PER_CHUNK (CHUNK_DATA / sizeof(struct rcpt))

/* Message heads come from a pool of their own.  Before any other thread runs. */
int message_pool_init(uint32_t messages, int socket) WARN_UNUSED;
void message_pool_fini(void);
/* A zeroed message with one reference; NULL: pool empty. */
struct message *message_new(void);
static inline void message_ref(struct message *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}
/* Any thread; the last reference frees chunks and head. */
void message_unref(struct message *m);

/* Building, by the core that owns the message.  0 or -ENOBUFS (chunk pool empty). */
int message_set_sender(struct message *m, struct bytes path) WARN_UNUSED;
int message_add_rcpt(struct message *m, struct bytes address, enum rcpt_route route,
	uint32_t account) WARN_UNUSED; /* also -ENOSPC: MESSAGE_RCPT_MAX */
int message_add_rcpt_dsn(struct message *m, struct bytes address, enum rcpt_route route,
	uint32_t account, const struct dsn_rcpt *dsn) WARN_UNUSED;
/* xtext, at most DSN_ENVID_MAX octets. */
int message_set_envid(struct message *m, struct bytes envid) WARN_UNUSED;
/* Add one field before those already prepended.  text ends in CRLF.  local: Return-Path. */
int message_prepend(struct message *m, struct bytes text, bool local) WARN_UNUSED;

/* The same of a message that has no local field yet: the first local_n octets of text are one, or
 * more.
 */
int message_prepend_trace(struct message *m, struct bytes text, uint32_t local_n) WARN_UNUSED;

/* Reading. */
struct bytes message_sender(const struct message *m);
/* In xtext; empty: not given. */
struct bytes message_envid(const struct message *m);
const struct rcpt *message_rcpt(const struct message *m, uint32_t i);
struct bytes message_rcpt_address(const struct message *m, const struct rcpt *r);
/* "rfc822;xtext" as it was said; empty: not given. */
struct bytes message_rcpt_orcpt(const struct message *m, const struct rcpt *r);
struct bytes message_rcpt_domain(const struct message *m, const struct rcpt *r);
/* Octets of the content as received. */
static inline uint64_t message_body_bytes(const struct message *m)
{
	return m->streamed + m->body.bytes;
}
