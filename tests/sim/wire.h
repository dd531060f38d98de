/* SPDX-License-Identifier: BSD-3-Clause
 * The network between stacks in a test: a switch with a router's troubles.  Frames are lost,
 * doubled, altered, delayed, queued before a narrow link, marked, cut or refused for their size, at
 * random from a seed or by rules for the nth segment that matches.  ARP, neighbour discovery and
 * what is no IP are only delayed: three lost questions are an unreachable host, rightly. */
#pragma once
#include "tests/sim/packet.h"
#include "tests/sim/pcap.h"

#define WIRE_PORTS_MAX 4
#define WIRE_RULES_MAX 8
#define WIRE_FLOWS_MAX 16
#define WIRE_ANY       0xff
#define WIRE_CHANCE    10000u      /* probabilities are of this */
#define WIRE_FRAME_MAX (14 + 9000) /* chosen: jumbo frames */
#define WIRE_LAST_MAC  0xfeu       /* last octet of the router's */
#define WIRE_ROUTER_IP 0xc61200feu /* 198.18.0.254; IPv6: 2001:2::fe */

struct wire_conf {
	unsigned loss, duplicate, corrupt; /* of WIRE_CHANCE, for IP packets */
	unsigned loss_to;                  /* bit mask of ports towards which is lost; 0: all */
	uint64_t delay_us, jitter_us;      /* one way */
	uint64_t rate;                     /* octets a second towards each port; 0: no limit */
	uint32_t queue_bytes;              /* before that link; the tail is dropped; 0: endless */
	uint32_t mark_bytes;  /* a longer queue marks what can be (RFC 3168); 0: none */
	uint16_t mtu;         /* of the path; 0: no limit */
	uint64_t mtu_from_us; /* the time from which on */
	bool black_hole;      /* the router does not say that a packet is too big */
	uint16_t cut;         /* larger packets become fragments, whatever they want; 0: none */
	bool strip_sack, strip_wscale, strip_timestamps;
};

enum wire_action { WIRE_DROP, WIRE_DOUBLE, WIRE_DELAY, WIRE_ALTER, WIRE_MARK };

/* The nth segment that matches, and count - 1 more. */
struct wire_rule {
	uint8_t from;              /* port that sends; WIRE_ANY */
	uint8_t flags_mask, flags; /* these flags must stand so */
	bool data;                 /* only with payload */
	uint32_t first, last; /* has octets of these, counted from the sender's first; 0, 0: any */
	unsigned nth;         /* from 1 */
	unsigned count;       /* 0: 1 */
	enum wire_action action;
	uint64_t delay_us; /* WIRE_DELAY: so much more */
};

struct wire_frame {
	uint64_t at_us, order;
	uint8_t to;
	size_t n;
	uint8_t octets[];
};

struct wire {
	struct wire_conf conf;
	struct wire_rule rules[WIRE_RULES_MAX];
	unsigned rules_n, matched[WIRE_RULES_MAX];
	unsigned ports;
	uint64_t *random; /* of who owns the wire */
	struct pcap *pcap;
	struct wire_frame **heap; /* by time */
	unsigned heap_n, heap_size;
	uint64_t order, busy_until[WIRE_PORTS_MAX];
	struct { /* first sequence numbers, for the rules */
		struct ip_addr from;
		uint16_t sport, dport;
		uint32_t isn;
	} flows[WIRE_FLOWS_MAX];
	unsigned flows_n;
	/* what happened */
	uint64_t sent, lost, queue_dropped, marked, too_big, fragmented, ruled;
	uint32_t queue_peak;
	uint16_t fragment_id;
};

/* Station i has the MAC 2:0:0:0:0:i+1 */
void wire_init(struct wire *w, const struct wire_conf *conf, unsigned ports, uint64_t *random,
	struct pcap *pcap);
void wire_fini(struct wire *w);
/* A frame (copied) from a port.  Options are stripped in place before anything else happens.
 * Returns false when it was lost. */
bool wire_send(struct wire *w, unsigned from, uint8_t *frame, size_t n, uint64_t now_us);
void wire_strip(const struct wire *w, struct packet *p);
/* Is one of so many pieces of what goes to a station lost, by the odds that any of them is? */
bool wire_loses(struct wire *w, const uint8_t *frame, unsigned pieces);
/* When the next frame arrives; UINT64_MAX: none is under way. */
uint64_t wire_next_us(const struct wire *w);
/* The next frame that has arrived by now, for the caller to free(); NULL: none. */
struct wire_frame *wire_take(struct wire *w, uint64_t now_us);

/* wire_router.c */
/* Cut a packet into fragments with up to mtu octets; now and then one is lost. */
void wire_cut(struct wire *w, unsigned from, const struct packet *p, uint16_t mtu, uint64_t now_us);
/* Forward over a link with a smaller MTU: cut it into fragments, or say that it is too big. */
void wire_too_big(struct wire *w, unsigned from, const struct packet *p, uint64_t now_us);
/* Let a frame travel to where its MAC says. */
void wire_forward(struct wire *w, unsigned from, const uint8_t *frame, size_t n, uint64_t now_us);
