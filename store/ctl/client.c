/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/ctl/ctl.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int complain(struct ctl *c, const char *what, int err)
{
	if (c->quiet) {
		snprintf(c->error, sizeof(c->error), "%s%s%s", what, err ? ": " : "",
			err ? strerror(err) : "");
		return CTL_ERROR;
	}
	fprintf(stderr, "bypostctl: %s: %s%s%s\n", c->socket, what, err ? ": " : "",
		err ? strerror(err) : "");
	return CTL_ERROR;
}

bool ctl_reachable(struct ctl *c)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answered = false;

	if (fd >= 0 && strlen(c->socket) < sizeof(to.sun_path)) {
		strcpy(to.sun_path, c->socket);
		answered = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
		/* One who is there but not for us is a daemon as well. */
		answered |= errno != ENOENT && errno != ECONNREFUSED;
	}
	if (fd >= 0)
		close(fd);
	return answered;
}

static int connect_socket(struct ctl *c)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	if (strlen(c->socket) >= sizeof(to.sun_path))
		return complain(c, "the path is too long", 0);
	strcpy(to.sun_path, c->socket);
	c->line = malloc(CTL_LINE_MAX);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!c->line || c->fd < 0)
		return complain(c, "cannot connect", errno);
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return complain(c, "cannot reach bypostd", errno);
	if (c->timeout_s) {
		struct timeval t = {.tv_sec = c->timeout_s};
		setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
		setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	}
	return CTL_OK;
}

int ctl_send(struct ctl *c, json_t *request)
{
	int exit = c->fd < 0 ? connect_socket(c) : CTL_OK;
	char *text = json_dumps(request, JSON_COMPACT);
	size_t n = text ? strlen(text) : 0;

	json_decref(request);
	if (exit == CTL_OK && !text)
		exit = complain(c, "the request is not valid text", 0);
	if (exit == CTL_OK)
		text[n++] = '\n'; /* in the place of the NUL */
	for (size_t at = 0; exit == CTL_OK && at < n;) {
		ssize_t w = send(c->fd, text + at, n - at, MSG_NOSIGNAL);
		if (w < 0 && errno != EINTR)
			exit = complain(c, "cannot send", errno);
		at += w > 0 ? (size_t)w : 0;
	}
	if (text)
		explicit_bzero(text, n);
	free(text);
	return exit;
}

static bool read_more(struct ctl *c)
{
	if (c->have == CTL_LINE_MAX) {
		complain(c, "the answer has too long a line", 0);
		return false;
	}
	ssize_t r = read(c->fd, c->line + c->have, CTL_LINE_MAX - c->have);
	if (r < 0 && errno == EINTR)
		return true;
	if (r <= 0) {
		complain(c, "bypostd closed the connection", r < 0 ? errno : 0);
		return false;
	}
	c->have += (size_t)r;
	return true;
}

json_t *ctl_receive(struct ctl *c)
{
	const char *end;

	memmove(c->line, c->line + c->used, c->have - c->used);
	c->have -= c->used;
	c->used = 0;
	for (size_t seen = 0; !(end = memchr(c->line + seen, '\n', c->have - seen));) {
		seen = c->have;
		if (!read_more(c))
			return NULL;
	}
	c->used = (size_t)(end - c->line) + 1;
	json_t *object = json_loadb(c->line, c->used - 1, 0, NULL);
	if (json_is_object(object))
		return object;
	json_decref(object);
	complain(c, "the answer is not a JSON object", 0);
	return NULL;
}

bool ctl_is_last(struct ctl *c, const json_t *object, int *exit_r)
{
	const json_t *ok = json_object_get(object, "ok");
	char text[1024];

	if (!ok)
		return false;
	*exit_r = CTL_OK;
	if (json_is_true(ok))
		return true;
	*exit_r = strcmp(ctl_text(object, "status"), "notfound") == 0 ? CTL_NOT_FOUND : CTL_ERROR;
	format_safe(ctl_text(object, "error"), text, sizeof(text));
	if (c->quiet)
		snprintf(c->error, sizeof(c->error), "%.*s", (int)sizeof(c->error) - 1, text);
	else
		fprintf(stderr, "bypostctl: %s\n", text);
	return true;
}

static void show_json(const json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
}

int ctl_run(struct ctl *c, json_t *request, void (*show)(const json_t *object, void *ctx),
	void *ctx, json_t **last_r)
{
	int exit = ctl_send(c, request);

	return exit == CTL_OK ? ctl_answer(c, show, ctx, last_r) : exit;
}

int ctl_answer(
	struct ctl *c, void (*show)(const json_t *object, void *ctx), void *ctx, json_t **last_r)
{
	int exit = CTL_OK;
	unsigned lines = 0;
	bool last = false;

	while (exit == CTL_OK && !last) {
		json_t *object = ctl_receive(c);
		if (!object)
			return CTL_ERROR;
		last = ctl_is_last(c, object, &exit);
		/* A script gets the data; the last line only where it is all there is. */
		if (c->json && exit == CTL_OK && (!last || (lines == 0 && !show)))
			show_json(object);
		else if (!last && show)
			show(object, ctx);
		lines++;
		if (last && last_r && exit == CTL_OK)
			*last_r = json_incref(object);
		json_decref(object);
	}
	return exit;
}

void ctl_close(struct ctl *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->line);
	c->line = NULL;
	c->have = c->used = 0;
	c->fd = -1;
}
