/* SPDX-License-Identifier: BSD-3-Clause
 * A TCP echo server on the dataplane alone: tries a port, its driver and the idle loop without the
 * rest of bypost.
 *
 *     echo_core KIND DEVICE ADDRESS/PREFIX [CORES [TCP-PORT]]
 *
 * KIND is tap, af_packet or af_xdp.  With more than one core the first one owns the port and the
 * last one the connections.  Ends on SIGTERM or SIGINT with the counters on standard output. */
#include <signal.h>
#include <unistd.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "dataplane/dataplane.h"
#include "dataplane/port.h"
#include "dataplane/stack.h"

#define SESSIONS_MAX 1000

struct session {
	struct stream stream;
	bool used, eof;
};

static struct core cores[CORES_MAX];
static struct session sessions[SESSIONS_MAX];
static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static size_t on_data(struct stream *s, struct bytes data)
{
	return stream_send(s, data);
}

static void on_eof(struct stream *s)
{
	struct session *session = container_of(s, struct session, stream);

	stream_close(s);
	session->used = false;
}

static void on_writable(struct stream *s)
{
	stream_resume(s);
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	log_info("echo", "closed reason=%s", stream_reason_text(reason));
	container_of(s, struct session, stream)->used = false;
}

static const struct stream_ops ops = {
	.on_data = on_data, .on_eof = on_eof, .on_writable = on_writable, .on_close = on_close};

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	(void)l;
	(void)peer;
	(void)local;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		if (sessions[i].used)
			continue;
		sessions[i] = (struct session){.used = true, .stream.ops = &ops};
		return &sessions[i].stream;
	}
	return NULL;
}

static int parse_kind(const char *text, enum port_kind *kind_r)
{
	static const char *const names[] = {
		[PORT_TAP] = "tap", [PORT_AF_PACKET] = "af_packet", [PORT_AF_XDP] = "af_xdp"};

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*kind_r = (enum port_kind)i;
			return 0;
		}
	}
	return -1;
}

/* The host's address and the prefix of its network: "198.18.0.1/24". */
static int parse_address(const char *text, struct ip_net *out)
{
	struct bytes b = bytes_str(text);
	ptrdiff_t slash = bytes_find(b, '/', 0);
	uint64_t prefix;

	if (slash < 0 || ip_parse(bytes_first(b, (size_t)slash), &out->ip) < 0 ||
		bytes_to_u64(bytes_skip(b, (size_t)slash + 1), &prefix) < 0 || prefix > 128)
		return -1;
	out->prefix = (uint8_t)(prefix + (ip_is_v4(&out->ip) ? 96 : 0));
	return 0;
}

static int configure(struct dataplane_conf *conf, int argc, char **argv)
{
	struct port_conf *p = &conf->ports[0];

	conf->core_count = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
	if (argc < 4 || parse_kind(argv[1], &p->kind) < 0 ||
		parse_address(argv[3], &p->address[0]) < 0 || conf->core_count < 1 ||
		conf->core_count > CORES_MAX)
		return -1;
	snprintf(p->name, sizeof(p->name), "uplink");
	snprintf(p->device, sizeof(p->device), "%s", argv[2]);
	snprintf(conf->file_prefix, sizeof(conf->file_prefix), "echo%d", (int)getpid());
	p->address_count = 1;
	conf->port_count = 1;
	conf->connections_max = SESSIONS_MAX;
	conf->chunks = 1024;
	conf->ring_size = 1024;
	conf->cores[0].roles = CORE_DATAPLANE;
	conf->cores[conf->core_count - 1].roles |= CORE_CONTROL;
	return 0;
}

static int serve(struct dataplane_conf *conf, uint16_t port)
{
	static struct listener listener = {.accept = on_accept};
	struct core *last = &cores[conf->core_count - 1];

	if (stack_listen(last->stack, port, &listener) < 0 ||
		dataplane_add_service(port, CORE_CONTROL) < 0 ||
		dataplane_launch(cores, conf->core_count) < 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	while (!stopping) {
		usleep(50000);
		log_drain();
	}
	for (unsigned i = 0; i < conf->core_count; i++)
		core_stop(&cores[i]);
	dataplane_join();
	for (unsigned i = 0; i < COUNTER_N; i++) {
		uint64_t v = counters_sum((enum counter)i);
		if (v)
			printf("%s %llu\n", counter_table[i].name, (unsigned long long)v);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct dataplane_conf conf = {0};
	char error[256] = "";
	int rc;

	if (configure(&conf, argc, argv) < 0) {
		fprintf(stderr, "usage: echo_core tap|af_packet|af_xdp DEVICE ADDRESS/PREFIX "
				"[CORES [PORT]]\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	if (dataplane_eal_start(&conf, error, sizeof(error)) < 0 ||
		dataplane_start(&conf, cores, error, sizeof(error)) < 0) {
		fprintf(stderr, "echo_core: %s\n", error);
		rc = 1;
	} else {
		rc = serve(&conf, argc > 5 ? (uint16_t)atoi(argv[5]) : 7);
	}
	dataplane_stop();
	log_flush();
	return rc;
}
