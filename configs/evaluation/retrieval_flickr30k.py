# Image-text retrieval on Flickr30k's test split of Karpathy and Fei-Fei (arXiv
# 1412.2306): 1000 images with 5 captions each. Everything else as in
# retrieval_coco5k.py.
_base_ = './retrieval_coco5k.py'
test_dataloader = dict(
    dataset=dict(
        # flickr30k-images/ and Karpathy's dataset_flickr30k.json
        data_root='{{$FLICKR30K_ROOT:data/flickr30k/}}',
        ann_file='{{$FLICKR30K_KARPATHY:dataset_flickr30k.json}}',
        data_prefix=dict(img='flickr30k-images/'),
    )
)
benchmark = dict(
    task='retrieval, Flickr30k',
    quick=True,
    subfolders=[''],
    data='FLICKR30K_ROOT: flickr30k-images/ of '
    'https://shannon.cs.illinois.edu/DenotationGraph/ and '
    'dataset_flickr30k.json of '
    'https://cs.stanford.edu/people/karpathy/deepimagesent/',
)
