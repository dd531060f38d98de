/* SPDX-License-Identifier: BSD-3-Clause
 * `trace`: frames from the daemon into a pcap file.  The file is written here, with the rights of
 * who asks. */
#include "store/ctl/ctl.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "dataplane/base/codec.h"

#define PCAP_MAGIC_NS  0xa1b23c4du /* times in nanoseconds */
#define LINKTYPE_ETHER 1u
#define FRAME_MAX      16384
#define NS_PER_S       1000000000ull

struct pcap {
	FILE *file;
	bool begun, failed;
	uint64_t packets, bytes;
};

static void put32(struct pcap *p, uint32_t v)
{
	p->failed |= fwrite(&v, sizeof(v), 1, p->file) != 1;
}

/* In our byte order: the magic number tells readers which. */
static void pcap_begin(struct pcap *p, uint32_t snap, uint64_t seconds)
{
	put32(p, PCAP_MAGIC_NS);
	put32(p, 4u << 16 | 2u); /* version 2.4, as two 16-bit numbers */
	put32(p, 0);
	put32(p, 0);
	put32(p, snap);
	put32(p, LINKTYPE_ETHER);
	p->begun = true;
	fflush(p->file);
	fprintf(stderr, "tracing for %llu s at most\n", (unsigned long long)seconds);
}

static void pcap_frame(struct pcap *p, const json_t *o)
{
	static uint8_t octets[FRAME_MAX];
	uint64_t ns = ctl_number(o, "ns");
	struct buf b;

	buf_init(&b, octets, sizeof(octets));
	if (base64_decode(&b, bytes_str(ctl_text(o, "frame"))) < 0) {
		p->failed = true;
		return;
	}
	put32(p, (uint32_t)(ns / NS_PER_S));
	put32(p, (uint32_t)(ns % NS_PER_S));
	put32(p, (uint32_t)b.n);
	put32(p, (uint32_t)ctl_number(o, "size"));
	p->failed |= fwrite(octets, 1, b.n, p->file) != b.n;
	p->packets++;
	p->bytes += b.n;
}

static void take_line(const json_t *o, void *ctx)
{
	struct pcap *p = ctx;

	if (json_object_get(o, "tracing"))
		pcap_begin(p, (uint32_t)ctl_number(o, "snap"), ctl_number(o, "seconds"));
	else if (p->begun && json_object_get(o, "frame"))
		pcap_frame(p, o);
}

/* Nobody else may read it: it is mail. */
static bool open_file(struct pcap *p, const char *path)
{
	int fd = strcmp(path, "-") == 0
			 ? dup(STDOUT_FILENO)
			 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	p->file = fd < 0 ? NULL : fdopen(fd, "wb");
	if (p->file)
		return true;
	fprintf(stderr, "bypostctl: %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

static void put_number(json_t *request, const char *key, uint64_t v)
{
	if (v)
		json_object_set_new(request, key, json_integer((json_int_t)v));
}

static void report(const struct ctl *c, const struct pcap *p, const json_t *last)
{
	if (c->json && strcmp(c->pcap, "-") != 0)
		printf("{\"packets\":%llu,\"bytes\":%llu,\"dropped\":%llu}\n",
			(unsigned long long)p->packets, (unsigned long long)p->bytes,
			(unsigned long long)ctl_number(last, "dropped"));
	else
		fprintf(stderr, "%llu packets with %llu octets captured, %llu dropped\n",
			(unsigned long long)p->packets, (unsigned long long)p->bytes,
			(unsigned long long)ctl_number(last, "dropped"));
}

int ctl_trace(struct ctl *c, char **args, int n)
{
	json_t *request = json_pack("{s:s}", "command", "trace"), *last = NULL;
	struct pcap p = {0};
	bool quiet = c->json;

	(void)args;
	(void)n;
	if (!c->pcap || !c->peer == !c->conn) {
		json_decref(request);
		fprintf(stderr, "bypostctl: --pcap FILE is needed, and --peer or --conn\n");
		return CTL_USAGE;
	}
	if (c->peer)
		json_object_set_new(request, "peer", json_string(c->peer));
	if (c->conn)
		json_object_set_new(request, "conn", json_string(c->conn));
	put_number(request, "seconds", c->seconds);
	put_number(request, "packets", c->packets);
	put_number(request, "snap", c->snap);
	if (!open_file(&p, c->pcap)) {
		json_decref(request);
		return CTL_ERROR;
	}
	c->json = false; /* frames are for the file */
	int exit = ctl_run(c, request, take_line, &p, &last);
	c->json = quiet;
	if (fclose(p.file) != 0 || p.failed) {
		fprintf(stderr, "bypostctl: %s: not written whole\n", c->pcap);
		exit = CTL_ERROR;
	}
	if (exit == CTL_OK)
		report(c, &p, last);
	json_decref(last);
	return exit == CTL_OK && p.packets == 0 ? CTL_NOT_FOUND : exit;
}
