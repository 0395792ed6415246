//! A slab in chunks: values keep their place, and growing copies nothing and reserves little.

const CHUNK: usize = 32;

#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            *self.place(place) = Some(value);
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first chunk grows, as most slabs stay small.
            let capacity = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(Some(value));
        // 2^32 values do not fit into memory.
        u32::try_from(last * CHUNK + self.chunks[last].len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let taken = self.place(place).take();
        if taken.is_some() {
            self.free.push(place);
        }
        taken
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        let place = place as usize;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        let place = place as usize;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)?.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum::<usize>() - self.free.len()
    }

    /// One more than the highest place so far.
    pub(super) fn end(&self) -> u32 {
        u32::try_from(self.chunks.iter().map(Vec::len).sum::<usize>()).unwrap_or(u32::MAX)
    }

    fn place(&mut self, place: u32) -> &mut Option<T> {
        &mut self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }
}
