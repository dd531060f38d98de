/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/wire.h"
#include "dataplane/base/clock.h"
#include "tests/sim/host.h"

#define WIRE_HEAP_MAX 65536u /* frames under way; more are dropped */

static uint64_t rnd(struct wire *w, uint64_t n)
{
	return host_random(w->random) % n;
}

static bool chance(struct wire *w, unsigned of)
{
	return of && rnd(w, WIRE_CHANCE) < of;
}

void wire_init(struct wire *w, const struct wire_conf *conf, unsigned ports, uint64_t *random,
	struct pcap *pcap)
{
	BUG_ON(ports > WIRE_PORTS_MAX);
	*w = (struct wire){.conf = *conf, .ports = ports, .random = random, .pcap = pcap};
}

void wire_fini(struct wire *w)
{
	while (w->heap_n)
		free(w->heap[--w->heap_n]);
	free(w->heap);
	w->heap = NULL;
}

/* ---- frames under way ---- */

static bool frame_before(const struct wire_frame *a, const struct wire_frame *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct wire *w, struct wire_frame *f)
{
	if (w->heap_n == w->heap_size) {
		w->heap_size = w->heap_size ? 2 * w->heap_size : 256;
		w->heap = realloc(w->heap, w->heap_size * sizeof(struct wire_frame *));
		BUG_ON(!w->heap);
	}
	unsigned i = w->heap_n++;
	for (; i > 0 && frame_before(f, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = f;
}

static struct wire_frame *heap_pop(struct wire *w)
{
	struct wire_frame *top = w->heap[0], *last = w->heap[--w->heap_n];
	unsigned i = 0;

	for (unsigned child; (child = 2 * i + 1) < w->heap_n; i = child) {
		if (child + 1 < w->heap_n && frame_before(w->heap[child + 1], w->heap[child]))
			child++;
		if (!frame_before(w->heap[child], last))
			break;
		w->heap[i] = w->heap[child];
	}
	w->heap[i] = last;
	return top;
}

uint64_t wire_next_us(const struct wire *w)
{
	return w->heap_n ? w->heap[0]->at_us : UINT64_MAX;
}

struct wire_frame *wire_take(struct wire *w, uint64_t now_us)
{
	return wire_next_us(w) <= now_us ? heap_pop(w) : NULL;
}

/* The narrow link towards a port.  Returns when the frame has passed it; 0: the queue is full. */
static uint64_t link_pass(struct wire *w, unsigned to, size_t n, uint64_t now_us, bool *mark_r)
{
	uint64_t start = MAX(now_us, w->busy_until[to]);
	uint64_t queued = (start - now_us) * w->conf.rate / US_PER_SEC;

	*mark_r = w->conf.mark_bytes && queued > w->conf.mark_bytes;
	if (w->conf.rate == 0)
		return now_us;
	if (w->conf.queue_bytes && queued + n > w->conf.queue_bytes) {
		w->queue_dropped++;
		return 0;
	}
	w->queue_peak = MAX(w->queue_peak, (uint32_t)MIN(queued, UINT32_MAX));
	w->busy_until[to] = start + n * US_PER_SEC / w->conf.rate;
	return w->busy_until[to];
}

static void frame_mark(struct wire *w, struct wire_frame *f)
{
	struct packet p;

	if (!packet_parse(f->octets, f->n, &p) || packet_ecn(&p) == 0)
		return;
	packet_ecn_set(&p, PACKET_ECN_CE);
	w->marked++;
}

static void schedule(struct wire *w, unsigned to, const uint8_t *octets, size_t n, uint64_t now_us)
{
	bool mark;
	uint64_t at = link_pass(w, to, n, now_us, &mark);

	if (!at || w->heap_n == WIRE_HEAP_MAX) {
		w->lost++;
		return;
	}
	struct wire_frame *f = malloc(sizeof(*f) + n);
	BUG_ON(!f);
	*f = (struct wire_frame){.order = w->order++, .to = (uint8_t)to, .n = n};
	memcpy(f->octets, octets, n);
	if (mark)
		frame_mark(w, f);
	f->at_us = at + w->conf.delay_us;
	if (w->conf.jitter_us)
		f->at_us += rnd(w, w->conf.jitter_us);
	heap_push(w, f);
}

void wire_forward(struct wire *w, unsigned from, const uint8_t *frame, size_t n, uint64_t now_us)
{
	unsigned station = frame[5] - 1u;

	for (unsigned to = 0; to < w->ports; to++) {
		if (to != from && ((frame[0] & 1) || to == station))
			schedule(w, to, frame, n, now_us);
	}
}

/* ---- rules ---- */

static uint32_t *flow_isn(struct wire *w, const struct packet *p)
{
	unsigned i = 0;

	while (i < w->flows_n && (w->flows[i].sport != p->sport || w->flows[i].dport != p->dport ||
					 !ip_eq(&w->flows[i].from, &p->from)))
		i++;
	if (i == w->flows_n) {
		if (w->flows_n == WIRE_FLOWS_MAX)
			return NULL;
		w->flows_n++;
		w->flows[i].from = p->from;
		w->flows[i].sport = p->sport;
		w->flows[i].dport = p->dport;
		w->flows[i].isn = p->seq;
	}
	return &w->flows[i].isn;
}

static bool rule_matches(
	const struct wire_rule *r, unsigned from, const struct packet *p, uint32_t isn)
{
	uint32_t seq = p->seq - isn - 1; /* the sender's first octet is 0 */

	if ((r->from != WIRE_ANY && r->from != from) || (p->flags & r->flags_mask) != r->flags)
		return false;
	if (r->data && !p->payload_n)
		return false;
	if (r->last == 0)
		return true;
	return !(p->flags & RTE_TCP_SYN_FLAG) && seq <= r->last && seq + p->payload_n > r->first;
}

/* The rule that this segment's turn has come for; NULL: none. */
static const struct wire_rule *rule_due(struct wire *w, unsigned from, const struct packet *p)
{
	const struct wire_rule *due = NULL;
	const uint32_t *isn = w->rules_n ? flow_isn(w, p) : NULL;

	for (unsigned i = 0; isn && i < w->rules_n; i++) {
		const struct wire_rule *r = &w->rules[i];
		if (!rule_matches(r, from, p, *isn))
			continue;
		unsigned n = ++w->matched[i];
		if (!due && n >= r->nth && n - r->nth < MAX(r->count, 1u))
			due = r;
	}
	return due;
}

/* Returns false when the frame is lost; *now_us: later when it is delayed. */
static bool rule_apply(struct wire *w, const struct wire_rule *r, unsigned from, struct packet *p,
	uint64_t *now_us)
{
	w->ruled++;
	switch (r->action) {
	case WIRE_DROP:
		return false;
	case WIRE_DOUBLE:
		wire_forward(w, from, p->frame, p->n, *now_us);
		break;
	case WIRE_DELAY:
		*now_us += r->delay_us;
		break;
	case WIRE_ALTER:
		p->frame[p->n - 1] ^= 1;
		break;
	case WIRE_MARK:
		if (packet_ecn(p))
			packet_ecn_set(p, PACKET_ECN_CE);
		break;
	}
	return true;
}

/* ---- the way of a frame ---- */

void wire_strip(const struct wire *w, struct packet *p)
{
	if (!p->tcp || !(p->flags & RTE_TCP_SYN_FLAG))
		return;
	if (w->conf.strip_sack)
		packet_option_strip(p, PACKET_OPTION_SACK_OK);
	if (w->conf.strip_wscale)
		packet_option_strip(p, PACKET_OPTION_WSCALE);
	if (w->conf.strip_timestamps)
		packet_option_strip(p, PACKET_OPTION_TIMESTAMPS);
}

/* What must not be lost, or the test is about neighbours: ICMPv6 133 to 137. */
static bool neighbours(const struct packet *p)
{
	return p->v6 && p->protocol == IPPROTO_ICMPV6 && p->ip_n > p->ip_header_n &&
	       p->ip[p->ip_header_n] >= 133 && p->ip[p->ip_header_n] <= 137;
}

bool wire_loses(struct wire *w, const uint8_t *frame, unsigned pieces)
{
	unsigned station = frame[5] - 1u;

	if (w->conf.loss_to && !(w->conf.loss_to & 1u << station))
		return false;
	return chance(w, w->conf.loss / pieces);
}

static bool packet_send(struct wire *w, unsigned from, struct packet *p, uint64_t now_us)
{
	const struct wire_rule *r = p->tcp ? rule_due(w, from, p) : NULL;

	if ((r && !rule_apply(w, r, from, p, &now_us)) || wire_loses(w, p->frame, 1)) {
		w->lost++;
		return false;
	}
	if (w->conf.mtu && now_us >= w->conf.mtu_from_us && p->ip_n > w->conf.mtu) {
		w->too_big++;
		wire_too_big(w, from, p, now_us);
		return true;
	}
	if (w->conf.cut && p->ip_n > w->conf.cut) {
		wire_cut(w, from, p, w->conf.cut, now_us);
		return true;
	}
	bool twice = chance(w, w->conf.duplicate);
	if (chance(w, w->conf.corrupt))
		p->ip[rnd(w, p->ip_n)] ^= (uint8_t)(1 << rnd(w, 8));
	wire_forward(w, from, p->frame, p->n, now_us);
	if (twice)
		wire_forward(w, from, p->frame, p->n, now_us);
	return true;
}

bool wire_send(struct wire *w, unsigned from, uint8_t *frame, size_t n, uint64_t now_us)
{
	struct packet p;

	BUG_ON(n < sizeof(struct rte_ether_hdr) || n > WIRE_FRAME_MAX);
	w->sent++;
	if (w->pcap)
		pcap_add(w->pcap, now_us, bytes_make(frame, n));
	if (packet_parse(frame, n, &p) && !neighbours(&p))
		return packet_send(w, from, &p, now_us);
	wire_forward(w, from, frame, n, now_us);
	return true;
}
