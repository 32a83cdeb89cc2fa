"""CAR, compression artifact reduction: what the scripts at the root stand on.

A module may import those of the lines above its own, and no other: `lint-imports` holds that.

    arrays  errors  stop            ground: array types; faults in words; Ctrl-C and SIGTERM
    cli  files  find                arguments, progress; whole files, one run at a time; files of a folder;
    frames  jpeg  levels            records by frames; tables, coefficients; pixels of any depth as 8 bits;
    tiles  fast_conv  optimizers    cut and stitch; Toom-Cook; Adam, Muon and their rate
    ifd  segments                   EXIF's directories; segments of a JPEG that a new saving keeps;
    coded  metadata                 planes as a JPEG codes them; EXIF, ICC, XMP, ...
    tiled  chroma  changes          planes through a net tile by tile; chroma beside luma; changes of planes;
    foreign  history                the same of PNG, WebP, TIFF and BMP; which earlier saving a picture had;
    images  split  weights          open and decode; train, val, test; a set of weights as plain arrays;
    choice  limits  figures         which weights a plane gets; how far a change may go; MSE, PSNR, SSIM;
    journal  output  page           what was written into a folder of results; a picture in each format; pages
    correct  chroma_net             one image (the Corrector); the net of chroma in TensorFlow;
    records                         record files written, read, verified;
    pictures  pairs                 all that is drawn; pairs of planes to train on;
    jobs  workload                  names of results, what is there already; how much work each picture is;
    rows  thumbnails                figures.csv: a row for each picture; each picture reduced, and crops;
    record_set                      what comes of the images of a set of records, one by one or in parts;
    saying  report  shares          all that is said of a run; a page that shows it; records shared out;
    folder  training_step           a folder corrected; a step of training, compiled;
    preview                         what a run would do, without it;
    training_run  workers           a training on disk; the processes that train together;
    patch_page                      the pages of a training and of records, and which patches they show
"""
