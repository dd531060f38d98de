/* SPDX-License-Identifier: BSD-3-Clause
 * A full map and a full disk: new mail is refused, deletions go on, and room comes back by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "tests/unit/store/store_harness.h"

#define MESSAGE_BYTES 20000
#define MESSAGES_MAX  8000

static struct harness h;
static uint64_t ids[MESSAGES_MAX];
static unsigned count;

static int accept_one(void)
{
	struct message *m =
		harness_message(&h, MESSAGE_BYTES, (const char *[]){"x@example.net", NULL});
	uint64_t id = m->id;
	int status = harness_accept(&h, m);
	void *hint;

	if (status == HANDOFF_OK)
		ids[count++] = id;
	if (hints_take(&h.ready, &hint, 1)) {
		ready_hint_take(hint, &m);
		message_unref(m);
	}
	return status;
}

/* Accepts until refused; every refusal is "full". */
static unsigned fill(void)
{
	while (count < MESSAGES_MAX) {
		int status = accept_one();
		if (status == HANDOFF_OK)
			continue;
		assert_int_equal(status, HANDOFF_FULL);
		return count;
	}
	fail_msg("never full");
	return 0;
}

static enum store_health health(void)
{
	struct store_info info;

	store_get_info(h.store, &info);
	return info.health;
}

static void deliver_last(unsigned n)
{
	while (n--) {
		struct rcpt_result res = {.outcome = ATTEMPT_DELIVERED};
		struct results_op r = {.id = ids[--count], .count = 1, .results = &res};
		assert_int_equal(harness_write(&h, &r.op, STORE_RESULT), 0);
	}
}

static void wait_for_room(void)
{
	uint64_t end = clock_mono_us() + 20 * US_PER_SEC;

	while (accept_one() != HANDOFF_OK) {
		assert_true(clock_mono_us() < end);
		usleep(50000);
	}
	assert_int_equal(health(), STORE_OK);
}

static void all_intact(void)
{
	for (unsigned i = 0; i < count; i++)
		assert_true(harness_body_is(&h, ids[i], MESSAGE_BYTES, "Received: here\r\n", true));
}

/* Fills, empties a third, fills again, and at last empties all. */
static void full_and_back(void)
{
	unsigned before = fill();

	assert_true(before > 50);
	assert_int_equal(health(), STORE_FULL);
	all_intact();
	struct message *m = harness_message(&h, 100, (const char *[]){NULL});
	struct append_op a = {.account = 1, .target = BYTES_LIT("INBOX"), .message = m};
	assert_int_equal(harness_write(&h, &a.op, STORE_APPEND), -ENOSPC);
	message_unref(m);
	deliver_last(before / 3);
	wait_for_room();
	unsigned again = fill();
	assert_true(again > before / 2);
	all_intact();
	harness_close(&h);
	harness_open(&h);
	all_intact();
	deliver_last(count);
	wait_for_room();
	assert_true(fill() > before / 2);
}

static void test_small_map(void **state)
{
	(void)state;
	count = 0;
	harness_init(&h);
	h.conf.map_bytes = 2 << 20;
	harness_open(&h);
	full_and_back();
	harness_close(&h);
	harness_fini(&h);
}

static bool tmpfs_mount(const char *size)
{
	char data[64];

	snprintf(data, sizeof(data), "size=%s,mode=700", size);
	h.mounted = mount("tmpfs", h.dir, "tmpfs", 0, data) == 0;
	return h.mounted;
}

/* Of 20 MB. */
static void open_on_disk(void)
{
	if (!tmpfs_mount("20m")) {
		harness_fini(&h);
		skip(); /* needs root */
	}
	harness_open(&h);
}

static void small_disk(uint64_t give_back_ms)
{
	count = 0;
	harness_init(&h);
	h.conf.group_bytes = 64 << 10;
	h.conf.reserve_bytes = 2 << 20;
	h.conf.journal_spare = 1 << 20;
	h.conf.give_back_ms = give_back_ms;
	open_on_disk();
	full_and_back();
	harness_close(&h);
	harness_fini(&h);
}

static void test_small_disk(void **state)
{
	(void)state;
	small_disk(UINT64_MAX);
}

static void test_small_disk_and_files_with_holes(void **state)
{
	(void)state;
	small_disk(1);
}

/* Somebody else takes the disk's last octet, and gives it back. */
static void disk_filled_by_another(uint64_t give_back_ms)
{
	static char junk[1 << 20];
	char path[300];

	count = 0;
	harness_init(&h);
	h.conf.group_bytes = 64 << 10;
	h.conf.give_back_ms = give_back_ms;
	open_on_disk();
	for (int i = 0; i < 20; i++)
		assert_int_equal(accept_one(), HANDOFF_OK);
	snprintf(path, sizeof(path), "%s/ballast", h.dir);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	while (write(fd, junk, sizeof(junk)) > 0) {
	}
	while (write(fd, junk, 512) > 0) {
	}
	close(fd);
	fill();
	assert_int_equal(health(), STORE_FULL);
	all_intact();
	unlink(path);
	wait_for_room();
	all_intact();
	harness_close(&h);
	harness_fini(&h);
}

static void test_disk_filled_by_another(void **state)
{
	(void)state;
	disk_filled_by_another(UINT64_MAX);
}

static void test_disk_filled_by_another_and_files_with_holes(void **state)
{
	(void)state;
	disk_filled_by_another(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_map),
		cmocka_unit_test(test_small_disk),
		cmocka_unit_test(test_small_disk_and_files_with_holes),
		cmocka_unit_test(test_disk_filled_by_another),
		cmocka_unit_test(test_disk_filled_by_another_and_files_with_holes),
	};

	/* Mounts stay in a namespace of our own. */
	if (unshare(CLONE_NEWNS) == 0)
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
