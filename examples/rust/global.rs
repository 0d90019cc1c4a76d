// SPDX-License-Identifier: MIT
//! Labyrinth as the allocator of a Rust program: then a signal handler may use Vec,
//! String and Box.
//!
//! See README.md beside it.
//!
//!   build: rustc -O -L /usr/lib/x86_64-linux-gnu -l labyrinth global.rs
use std::alloc::{GlobalAlloc, Layout};
use std::os::raw::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

extern "C" {
    fn labyrinth_heap_memalign(align: usize, size: usize) -> *mut c_void;
    fn labyrinth_heap_realloc(ptr: *mut c_void, size: usize) -> *mut c_void;
    fn labyrinth_free(ptr: *mut c_void);
    fn signal(signo: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn raise(signo: c_int) -> c_int;
}

const SIGUSR1: c_int = 10;
/// What Labyrinth aligns any block to.
const NATURAL: usize = 16;

struct Labyrinth;

unsafe impl GlobalAlloc for Labyrinth {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        labyrinth_heap_memalign(layout.align(), layout.size()) as *mut u8
    }

    unsafe fn dealloc(&self, ptr: *mut u8, _layout: Layout) {
        labyrinth_free(ptr as *mut c_void)
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= NATURAL {
            return labyrinth_heap_realloc(ptr as *mut c_void, size) as *mut u8;
        }
        let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
        if !new.is_null() {
            std::ptr::copy_nonoverlapping(ptr, new, layout.size().min(size));
            self.dealloc(ptr, layout);
        }
        new
    }
}

#[global_allocator]
static GLOBAL: Labyrinth = Labyrinth;

static RUNS: AtomicUsize = AtomicUsize::new(0);
static LENGTH: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_signal(_signo: c_int) {
    let words: Vec<String> = (0..100).map(|i| "x".repeat(i)).collect();
    LENGTH.fetch_add(words.concat().len(), Ordering::Relaxed);
    RUNS.fetch_add(1, Ordering::Relaxed);
}

#[repr(align(4096))]
struct Page([u8; 4096]);

fn main() {
    unsafe { signal(SIGUSR1, on_signal) };
    for _ in 0..1000 {
        unsafe { raise(SIGUSR1) };
    }
    let mut pages: Vec<Page> = Vec::new();
    for i in 0..20 {
        pages.push(Page([i; 4096]));
    }
    let aligned = pages.as_ptr() as usize % 4096 == 0;
    let kept = pages.iter().enumerate().all(|(i, page)| page.0.iter().all(|b| *b as usize == i));
    let (runs, length) = (RUNS.load(Ordering::Relaxed), LENGTH.load(Ordering::Relaxed));
    println!("{runs} handlers, {length} characters, aligned {aligned}, kept {kept}");
    if runs != 1000 || length != 1000 * 4950 || !aligned || !kept {
        std::process::exit(1);
    }
}
