/* SPDX-License-Identifier: BSD-3-Clause
 * What every test file includes for cmocka. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
