/* SPDX-License-Identifier: BSD-3-Clause
 * What the runner finds in the shared object. */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "dataplane/base/rt/eal.h"
#include "tests/packetdrill/library.h"
#include "tests/sim/frame.h"

#define EAL_MEGABYTES 32
#define MBUFS         4095
#define ROOM          (RTE_PKTMBUF_HEADROOM + 2048)
#define CONTROL_ROOM  (RTE_PKTMBUF_HEADROOM + 256)

static struct pd *current; /* for calls that come past the table */

static int call_netdev_send(void *state, const void *packet, size_t n)
{
	struct pd *pd = state;

	pthread_mutex_lock(&pd->lock);
	if (pd->stack)
		pd_input(pd, packet, n);
	pthread_mutex_unlock(&pd->lock);
	return 0;
}

static int call_netdev_receive(void *state, void *packet, size_t *n, long long *at_us)
{
	struct pd *pd = state;

	pthread_mutex_lock(&pd->lock);
	uint64_t until = pd->now_us + PD_WAIT_US;
	while (pd->stack && !pd->out && pd->now_us < until)
		pd_step(pd, until);
	struct pd_frame *f = pd_frame_take(pd);
	size_t room = *n;
	*n = 0;
	*at_us = (long long)pd->now_us;
	if (f && f->n <= room) {
		memcpy(packet, f->octets, f->n);
		*n = f->n;
		*at_us = (long long)f->at_us;
	}
	free(f);
	pthread_mutex_unlock(&pd->lock);
	return 0;
}

static int call_usleep(void *state, useconds_t us)
{
	struct pd *pd = state;

	pthread_mutex_lock(&pd->lock);
	pd_advance(pd, pd->now_us + us);
	pthread_mutex_unlock(&pd->lock);
	return 0;
}

static int call_gettimeofday(void *state, struct timeval *tv, struct timezone *tz)
{
	struct pd *pd = state;

	(void)tz;
	pthread_mutex_lock(&pd->lock);
	if (pd->pending && !pthread_equal(pthread_self(), pd->runner)) {
		pd->pending--; /* the end of its call is noted: time may go on */
		pthread_cond_signal(&pd->settled);
	}
	pd->now_us++;
	tv->tv_sec = (time_t)(pd->now_us / US_PER_SEC);
	tv->tv_usec = (suseconds_t)(pd->now_us % US_PER_SEC);
	pthread_mutex_unlock(&pd->lock);
	return 0;
}

static int call_pipe(void *state, int fds[2])
{
	(void)state;
	return pipe(fds);
}

static int call_splice(void *state, int from, loff_t *from_offset, int to, loff_t *to_offset,
	size_t n, unsigned flags)
{
	(void)state, (void)from, (void)from_offset, (void)to, (void)to_offset;
	(void)n, (void)flags;
	errno = ENOSYS;
	return -1;
}

static void call_free(void *state)
{
	struct pd *pd = state;

	pthread_mutex_lock(&pd->lock);
	current = NULL;
	for (unsigned i = 0; i < PD_SOCKETS_MAX; i++)
		pd_socket_release(&pd->sockets[i]);
	stack_destroy(&pd->stack);
	pd_frames_free(pd);
	struct rte_mempool *pools[] = {pd->rx, pd->tx, pd->control};
	for (unsigned i = 0; i < ARRAY_LEN(pools); i++) {
		BUG_ON(rte_mempool_avail_count(pools[i]) != pools[i]->size);
		rte_mempool_free(pools[i]);
	}
	pthread_mutex_unlock(&pd->lock);
	pthread_cond_destroy(&pd->wake);
	pthread_cond_destroy(&pd->settled);
	pthread_mutex_destroy(&pd->lock);
	free(pd);
}

static void pools_init(struct pd *pd)
{
	pd->rx = frame_pool_create("pd_rx", MBUFS);
	pd->tx = rte_pktmbuf_pool_create("pd_tx", MBUFS, 0, STACK_TX_PRIV, ROOM, SOCKET_ID_ANY);
	pd->control = rte_pktmbuf_pool_create(
		"pd_control", 1023, 0, STACK_TX_PRIV, CONTROL_ROOM, SOCKET_ID_ANY);
	BUG_ON(!pd->tx || !pd->control);
}

__attribute__((visibility("default"))) void packetdrill_interface_init(
	const char *words, struct runner_calls *calls_r)
{
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	struct pd *pd = calloc(1, sizeof(*pd));

	BUG_ON(!pd);
	/* The runner locks its memory, and what it starts needs no second stack. */
	(void)setrlimit(RLIMIT_MEMLOCK, &all);
	unsetenv("LD_PRELOAD");
	eal_start_for_tests(EAL_MEGABYTES);
	pthread_mutex_init(&pd->lock, NULL);
	pthread_cond_init(&pd->wake, NULL);
	pthread_cond_init(&pd->settled, NULL);
	pd->runner = pthread_self();
	pd->now_us = 1000 * US_PER_SEC;
	pd->random = 1;
	pd->out_tail = &pd->out;
	pd->echo_tail = &pd->echo;
	timer_wheel_init(&pd->wheel, pd->now_us);
	pools_init(pd);
	pd_profile_parse(words, &pd->profile);
	*calls_r = (struct runner_calls){
		.state = pd,
		.free = call_free,
		.netdev_send = call_netdev_send,
		.netdev_receive = call_netdev_receive,
		.usleep = call_usleep,
		.gettimeofday = call_gettimeofday,
		.pipe = call_pipe,
		.splice = call_splice,
	};
	pd_socket_calls(calls_r);
	pd_option_calls(calls_r);
	pd_poll_calls(calls_r);
	current = pd;
}

/* The runner asks for TCP_INFO past the table.  When this object is preloaded, the question about a
 * descriptor of ours comes here. */
__attribute__((visibility("default"))) int getsockopt(
	int fd, int level, int name, void *value, socklen_t *value_n)
{
	struct pd *pd = current;

	for (unsigned i = 0; pd && i < PD_SOCKETS_MAX; i++) {
		if (pd->sockets[i].kind != PD_FREE && pd->sockets[i].fd == fd) {
			struct runner_calls c;
			pd_option_calls(&c);
			return c.getsockopt(pd, fd, level, name, value, value_n);
		}
	}
	return (int)syscall(SYS_getsockopt, fd, level, name, value, value_n);
}
