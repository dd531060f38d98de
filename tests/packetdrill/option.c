/* SPDX-License-Identifier: BSD-3-Clause
 * Socket options, fcntl, ioctl, and TCP_INFO from the connection's control block. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include "tests/packetdrill/library.h"
#include <linux/tcp.h> /* after ours: it defines some of the same names */

/* Options that scripts use, and what they are before somebody sets them. */
static const struct known {
	int level, name, value;
	bool doubled; /* tells twice what was set, as on Linux */
} known_options[] = {
	{SOL_SOCKET,  SO_REUSEADDR,     0,               false},
	{SOL_SOCKET,  SO_KEEPALIVE,     0,               false},
	{SOL_SOCKET,  SO_SNDBUF,        262144,          true },
	{SOL_SOCKET,  SO_RCVBUF,        540000,          true },
	{SOL_SOCKET,  SO_LINGER,        -1,              false},
	{IPPROTO_TCP, TCP_NODELAY,      0,               false},
	{IPPROTO_TCP, TCP_CORK,         0,               false},
	{IPPROTO_TCP, TCP_KEEPIDLE,     7200,            false},
	{IPPROTO_TCP, TCP_KEEPINTVL,    75,              false},
	{IPPROTO_TCP, TCP_KEEPCNT,      9,               false},
	{IPPROTO_TCP, TCP_USER_TIMEOUT, 0,               false},
	{IPPROTO_TCP, TCP_MAXSEG,       TCP_MSS_DEFAULT, false},
	{IPPROTO_TCP, TCP_LINGER2,      60,              false},
};

static const struct known *known_find(int level, int name)
{
	for (unsigned i = 0; i < ARRAY_LEN(known_options); i++) {
		if (known_options[i].level == level && known_options[i].name == name)
			return &known_options[i];
	}
	return NULL;
}

int pd_option_get(const struct pd_socket *s, int level, int name, int otherwise)
{
	for (unsigned i = 0; i < s->options_n; i++) {
		if (s->options[i].level == level && s->options[i].name == name)
			return s->options[i].value;
	}
	return otherwise;
}

static int option_put(struct pd_socket *s, int level, int name, int value)
{
	for (unsigned i = 0; i < s->options_n; i++) {
		if (s->options[i].level == level && s->options[i].name == name) {
			s->options[i].value = value;
			return 0;
		}
	}
	if (s->options_n == PD_OPTIONS_MAX) {
		errno = ENOBUFS;
		return -1;
	}
	s->options[s->options_n++] = (struct pd_option){level, name, value};
	return 0;
}

void pd_options_apply(struct pd_socket *s)
{
	const int tcp = IPPROTO_TCP;
	bool alive = pd_option_get(s, SOL_SOCKET, SO_KEEPALIVE, 0);
	uint64_t idle = (uint64_t)pd_option_get(s, tcp, TCP_KEEPIDLE, 7200);

	s->stream_options = (struct stream_options){
		.nagle = s->pd->profile.nagle && !pd_option_get(s, tcp, TCP_NODELAY, 0),
		.keepalive_us = alive ? idle * US_PER_SEC : 0,
		.keepalive_interval_us =
			(uint64_t)pd_option_get(s, tcp, TCP_KEEPINTVL, 0) * US_PER_SEC,
		.keepalive_probes = (uint8_t)pd_option_get(s, tcp, TCP_KEEPCNT, 0),
		.user_timeout_us = (uint64_t)pd_option_get(s, tcp, TCP_USER_TIMEOUT, 0) * US_PER_MS,
	};
	s->stream.options = &s->stream_options;
	if (!pd_socket_conn(s))
		return;
	stream_options_changed(&s->stream);
	stream_cork(&s->stream, pd_option_get(s, tcp, TCP_CORK, 0));
}

/* Known, and it may mean something at once. */
static int option_set(struct pd *pd, struct pd_socket *s, int level, int name, int value)
{
	int result = option_put(s, level, name, value);

	if (result == 0 && (level == IPPROTO_TCP || name == SO_KEEPALIVE)) {
		pd_options_apply(s);
		pd_settle(pd);
	}
	return result;
}

static int do_setsockopt(
	struct pd *pd, struct pd_socket *s, int level, int name, const void *value, socklen_t n)
{
	const struct known *k = known_find(level, name);
	int v = 0;

	if (!k) {
		errno = ENOPROTOOPT;
		return -1;
	}
	if (name == SO_LINGER && level == SOL_SOCKET && n >= sizeof(struct linger)) {
		const struct linger *l = value;
		return option_put(s, level, name, l->l_onoff ? l->l_linger : -1);
	}
	if (n < sizeof(v)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(&v, value, sizeof(v));
	return option_set(pd, s, level, name, k->doubled ? 2 * v : v);
}

/* enum tcp_state in Linux's numbers, which scripts use. */
static uint8_t info_state(const struct pd_socket *s, const struct tcp_conn *c)
{
	static const uint8_t linux_state[TCP_STATE_N] = {
		[TCP_CLOSED] = 7,
		[TCP_SYN_SENT] = 2,
		[TCP_SYN_RCVD] = 3,
		[TCP_ESTABLISHED] = 1,
		[TCP_FIN_WAIT_1] = 4,
		[TCP_FIN_WAIT_2] = 5,
		[TCP_CLOSE_WAIT] = 8,
		[TCP_CLOSING] = 11,
		[TCP_LAST_ACK] = 9,
	};

	if (s->listening)
		return 10;
	return linux_state[c ? c->state : TCP_CLOSED];
}

static uint32_t segments(uint32_t octets, uint32_t mss)
{
	return mss ? (octets + mss - 1) / mss : 0;
}

/* Octets lost as Linux counts them: also those sent again, until they are acknowledged. */
static uint32_t lost(const struct tcp_conn *c)
{
	uint32_t n = 0;

	for (struct rte_mbuf *m = c->sendq; m && m != c->unsent; m = tcp_txseg_of(m)->next) {
		const struct tcp_txseg *seg = tcp_txseg_of(m);
		if (!(seg->flags & TXS_SACKED) && (seg->flags & (TXS_LOST | TXS_RETX)))
			n += seg->len;
	}
	return n;
}

static void info_fill(const struct pd_socket *s, struct tcp_info *i)
{
	const struct tcp_conn *c = pd_socket_conn(s);

	*i = (struct tcp_info){.tcpi_state = info_state(s, c)};
	if (!c)
		return;
	/* Open, CWR, Recovery, Loss */
	i->tcpi_ca_state = c->flags & CF_LOSS       ? 4
			   : c->flags & CF_RECOVERY ? 3
			   : c->flags & CF_CWR      ? 2
						    : 0;
	if (!i->tcpi_ca_state && c->sacked)
		i->tcpi_ca_state = 1; /* Disorder */
	i->tcpi_retransmits = c->retries;
	i->tcpi_backoff = c->backoff;
	i->tcpi_options = (uint8_t)((c->flags & CF_SACK ? TCPI_OPT_SACK : 0) |
				    (c->flags & CF_WSCALE ? TCPI_OPT_WSCALE : 0));
	i->tcpi_snd_wscale = (unsigned)c->snd_wscale & 0xfu;
	i->tcpi_rcv_wscale = (unsigned)c->rcv_wscale & 0xfu;
	i->tcpi_rto = (uint32_t)tcp_rto_us(c);
	i->tcpi_snd_mss = c->mss;
	i->tcpi_rcv_mss = c->rcv_mss;
	i->tcpi_unacked = segments(tcp_flight(c), c->mss);
	i->tcpi_sacked = segments(c->sacked, c->mss);
	i->tcpi_lost = segments(lost(c), c->mss);
	i->tcpi_pmtu = s->pd->mtu;
	i->tcpi_rtt = c->srtt_us;
	i->tcpi_rttvar = c->rttvar_us;
	i->tcpi_snd_cwnd = c->mss ? c->cc.cwnd / c->mss : 0;
	i->tcpi_snd_ssthresh =
		c->cc.ssthresh >= INT32_MAX || !c->mss ? INT32_MAX : c->cc.ssthresh / c->mss;
	i->tcpi_advmss = s->pd->mtu - PD_TCP_MSS_V4;
	i->tcpi_reordering = TCP_DUP_ACKS;
	i->tcpi_total_retrans = tcp_note(c)->retransmits;
	i->tcpi_notsent_bytes = c->state >= TCP_ESTABLISHED && seq_lt(c->snd_nxt, c->snd_end)
					? c->snd_end - c->snd_nxt
					: 0;
	i->tcpi_rcv_space = c->stack->conf.rcv_buffer_bytes;
	i->tcpi_snd_wnd = c->snd_wnd;
}

static int value_give(const void *from, size_t n, void *value, socklen_t *value_n)
{
	/* A caller that knows more members than we gets zeros for them. */
	memset(value, 0, *value_n);
	memcpy(value, from, MIN(*value_n, n));
	if (n < sizeof(struct tcp_info))
		*value_n = (socklen_t)MIN(*value_n, n);
	return 0;
}

static int maxseg(const struct pd_socket *s)
{
	const struct tcp_conn *c = pd_socket_conn(s);

	return c && c->state >= TCP_ESTABLISHED
		       ? c->mss
		       : pd_option_get(s, IPPROTO_TCP, TCP_MAXSEG, TCP_MSS_DEFAULT);
}

static int do_getsockopt(
	struct pd *pd, struct pd_socket *s, int level, int name, void *value, socklen_t *value_n)
{
	const struct known *k = known_find(level, name);
	int v;

	(void)pd;
	if (level == IPPROTO_TCP && name == TCP_INFO) {
		struct tcp_info info;
		info_fill(s, &info);
		return value_give(&info, sizeof(info), value, value_n);
	}
	if ((level == IPPROTO_TCP && name == TCP_CC_INFO) ||
		(level == SOL_SOCKET && name == SO_MEMINFO)) {
		/* nothing to tell; zeros for who insists */
		memset(value, 0, *value_n);
		*value_n = name == TCP_CC_INFO ? 0 : *value_n;
		return 0;
	}
	if (level == SOL_SOCKET && name == SO_ERROR) {
		v = s->error;
		s->error = 0;
	} else if (level == IPPROTO_TCP && name == TCP_MAXSEG) {
		v = maxseg(s);
	} else if (level == SOL_SOCKET && name == SO_LINGER) {
		v = pd_option_get(s, level, name, -1);
		struct linger l = {.l_onoff = v >= 0, .l_linger = MAX(v, 0)};
		return value_give(&l, sizeof(l), value, value_n);
	} else if (k) {
		v = pd_option_get(s, level, name, k->value);
	} else {
		errno = ENOPROTOOPT;
		return -1;
	}
	return value_give(&v, sizeof(v), value, value_n);
}

static int do_fcntl(struct pd_socket *s, int command, int argument)
{
	if (command == F_GETFL)
		return s->status_flags;
	if (command == F_SETFL) {
		s->status_flags = O_RDWR | (argument & O_NONBLOCK);
		return 0;
	}
	errno = EINVAL;
	return -1;
}

static int do_ioctl(struct pd_socket *s, unsigned long request, int *value)
{
	const struct tcp_conn *c = pd_socket_conn(s);

	if (!value) {
		errno = EFAULT;
		return -1;
	}
	if (request == SIOCINQ) {
		*value = c ? (int)c->unread_bytes : 0;
	} else if (request == SIOCOUTQ) {
		*value = c && seq_lt(c->snd_una, c->snd_end) ? (int)(c->snd_end - c->snd_una) : 0;
	} else if (request == FIONBIO) {
		s->status_flags = O_RDWR | (*value ? O_NONBLOCK : 0);
	} else {
		errno = ENOTTY;
		return -1;
	}
	return 0;
}

#define CALL(expression)                                                                           \
	struct pd *pd = state;                                                                     \
	pthread_mutex_lock(&pd->lock);                                                             \
	struct pd_socket *s = pd_socket_find(pd, fd);                                              \
	int result = s ? (expression) : -1;                                                        \
	int error = errno;                                                                         \
	pthread_mutex_unlock(&pd->lock);                                                           \
	errno = error;                                                                             \
	return result

static int call_setsockopt(void *state, int fd, int level, int name, const void *value, socklen_t n)
{
	CALL(do_setsockopt(pd, s, level, name, value, n));
}

static int call_getsockopt(void *state, int fd, int level, int name, void *value, socklen_t *n)
{
	CALL(do_getsockopt(pd, s, level, name, value, n));
}

static int call_fcntl(void *state, int fd, int command, ...)
{
	va_list ap;

	va_start(ap, command);
	int argument = command == F_SETFL ? va_arg(ap, int) : 0;
	va_end(ap);
	CALL(do_fcntl(s, command, argument));
}

static int call_ioctl(void *state, int fd, unsigned long request, ...)
{
	va_list ap;

	va_start(ap, request);
	int *value = va_arg(ap, int *);
	va_end(ap);
	CALL(do_ioctl(s, request, value));
}

void pd_option_calls(struct runner_calls *c)
{
	c->setsockopt = call_setsockopt;
	c->getsockopt = call_getsockopt;
	c->fcntl = call_fcntl;
	c->ioctl = call_ioctl;
}
